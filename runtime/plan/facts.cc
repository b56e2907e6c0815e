// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "base/fd.h"
#include "base/rootfs.h"
#include "base/user_namespace.h"
#include "oci/rlimit_names.h"
#include "runtime/plan/found_namespaces.h"
#include "runtime/plan/mounts.h"

namespace nacre::runtime {

namespace {

// A random number of this boot of the host.
constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";

Result<std::string> program_directory() {
  std::array<char, PATH_MAX> path;
  ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length < 0) return fail_errno("readlink /proc/self/exe");
  std::string text(path.data(), static_cast<size_t>(length));
  return text.substr(0, text.rfind('/'));
}

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

Result<Parts> find_parts() {
  std::string directory = TRY(program_directory());
  std::string library = directory + "/../lib/nacre/";
  return Parts{.vmm = from_environment("NACRE_VMM", directory + "/vmm"),
               .kernel = from_environment("NACRE_KERNEL", library + "vmlinux"),
               .initramfs = from_environment("NACRE_INITRAMFS", library + "initramfs.cpio"),
               .seccomp = from_environment(kSeccompVariable, vmm::kSeccompKill)};
}

std::string own_hostname() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) < 0 ? "" : name.data();
}

bool is_empty(const std::string& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (!open) return false;
  size_t entries = 0;
  while (::readdir(open.get()) != nullptr) entries++;
  return entries == 2;  // "." and ".."
}

bool is_mount_point(const std::string& directory) {
  struct stat here, above;
  return ::stat(directory.c_str(), &here) == 0 && ::stat((directory + "/..").c_str(), &above) == 0 &&
         here.st_dev != above.st_dev;
}

std::optional<SourceFacts> look_at_source(const std::string& path) {
  struct statfs filesystem;
  struct stat top;
  if (::statfs(path.c_str(), &filesystem) < 0 || ::stat(path.c_str(), &top) < 0) return std::nullopt;
  SourceFacts facts{.filesystem = filesystem.f_type,
                    .filesystem_size = filesystem.f_blocks * static_cast<uint64_t>(filesystem.f_bsize),
                    .device = top.st_dev,
                    .inode = top.st_ino,
                    .mode = top.st_mode & 07777,
                    .uid = top.st_uid,
                    .gid = top.st_gid,
                    .is_mount_point = is_mount_point(path),
                    .is_empty = false};
  if (facts.filesystem == TMPFS_MAGIC && facts.is_mount_point) facts.is_empty = is_empty(path);
  return facts;
}

bool is_of_proc(const std::string& path) {
  struct statfs filesystem;
  return ::statfs(path.c_str(), &filesystem) == 0 && filesystem.f_type == PROC_SUPER_MAGIC;
}

std::map<std::string, SourceFacts> look_at_sources(const oci::Config& config) {
  std::map<std::string, SourceFacts> sources;
  for (const oci::Mount& mount : config.mounts) {
    if (!mount.bind) continue;
    if (!may_be_kept_in_guest(mount.destination) && !is_of_proc(mount.source)) continue;
    if (auto facts = look_at_source(mount.source)) sources.emplace(mount.source, *facts);
  }
  return sources;
}

// The root filesystem may be unreadable: make_mountpoints() reports that.
std::set<std::string> find_missing_destinations(const oci::Config& config) {
  std::set<std::string> missing;
  if (!config.rootfs_readonly) return missing;
  auto root = open_file(config.rootfs, O_PATH | O_DIRECTORY);
  if (!root) return missing;
  for (const oci::Mount& mount : config.mounts) {
    if (!may_be_tmpfs(mount)) continue;
    if (!open_in_root(root->get(), mount.destination, O_PATH)) missing.insert(mount.destination);
  }
  return missing;
}

bool has_notify_socket() {
  const char* socket = ::getenv("NOTIFY_SOCKET");
  return socket != nullptr && *socket != '\0';
}

}  // namespace

std::vector<Rlimit> own_rlimits() {
  std::vector<Rlimit> limits;
  for (auto [name, resource] : oci::kRlimits) {
    rlimit own;
    if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &own) < 0) continue;
    limits.push_back({.name = std::string(name), .soft = own.rlim_cur, .hard = own.rlim_max});
  }
  return limits;
}

std::vector<uint32_t> own_groups() {
  std::vector<uint32_t> groups(NGROUPS_MAX);
  int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  return groups;
}

std::string make_unique_name() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::to_string(::getpid()) + "-" + std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec);
}

Result<HostFacts> collect_facts(const oci::Config& config, const std::string& root) {
  HostFacts facts;
  facts.namespaces = TRY_CONTEXT(find_namespaces(config, root), oci::kConfigName);
  facts.parts = TRY(find_parts());
  facts.size = host_size();
  facts.administrator = TRY(oci::read_administrator_limits(oci::kAdministratorFile));
  facts.secret = read_file(kBootId).value_or("");
  facts.hostname = own_hostname();
  facts.rlimits = own_rlimits();
  facts.groups = own_groups();
  facts.is_unprivileged = is_unprivileged();
  facts.uid = ::geteuid();
  facts.gid = ::getegid();
  facts.has_notify_socket = has_notify_socket();
  facts.has_apparmor = host_has_apparmor();
  facts.has_selinux = host_has_selinux();
  if (config.json.at("linux").contains("intelRdt")) facts.resctrl = resctrl::support(resctrl::mount_point());
  facts.unique_prefix = make_unique_name() + ":";
  facts.sources = look_at_sources(config);
  facts.missing_destinations = find_missing_destinations(config);
  return facts;
}

}  // namespace nacre::runtime
