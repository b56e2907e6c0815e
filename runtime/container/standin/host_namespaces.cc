// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/host_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/mount.h"
#include "base/user_namespace.h"

namespace nacre::runtime {

namespace {

struct HostSide {
  std::string_view type;
  int flag;
};

// The types that have a side on the host. The others exist in the guest alone.
constexpr std::array kHostSide = {HostSide{"network", CLONE_NEWNET}, HostSide{"mount", CLONE_NEWNS},
                                  HostSide{"ipc", CLONE_NEWIPC}, HostSide{"uts", CLONE_NEWUTS}};

Result<void> join(const oci::Namespace& wanted, int flag) {
  std::string what = wanted.type + " namespace " + wanted.path;
  Fd fd = TRY_CONTEXT(open_file(wanted.path, O_RDONLY), wanted.type + " namespace");
  if (::setns(fd.get(), flag) < 0) return fail_errno(what);
  return {};
}

Result<void> make_readonly(const Fd& tree, bool below) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  unsigned flags = AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0u);
  if (::mount_setattr(tree.get(), "", flags, &attributes, sizeof(attributes)) < 0) return fail_errno("mount_setattr");
  return {};
}

Result<Fd> make_cover(const std::string& label) {
  std::vector<std::string> options = {"size=4k", "mode=555"};
  if (!label.empty()) options.push_back("context=" + label);
  return make_filesystem("tmpfs", "", options,
                         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

void put(const Fd& tree, const Fd& place, const std::string& destination) {
  if (::move_mount(tree.get(), "", place.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    log_debug(destination + " is not shown in the host's mount namespace of the container");
  }
}

// Shows a mount if its place is there on the root filesystem. A place below a tmpfs of the container's is not.
Result<void> show_mount(const Fd& root, const oci::Mount& mount, const Sources& sources, const std::string& label) {
  auto place = open_in_root(root.get(), mount.destination, O_PATH);
  if (!place) return {};
  Result<Fd> made = mount.bind ? clone_tree(sources.at(mount.share_path), "", mount.recursive) : make_cover(label);
  Fd tree = TRY(std::move(made));
  if (mount.bind && mount.readonly) TRY(make_readonly(tree, mount.readonly_below));
  put(tree, *place, mount.destination);
  return {};
}

// Mounts the file system of processes over the cover of the first /proc, if the host can have one.
std::optional<procfs::Mounted> show_proc(const Fd& root, const std::vector<oci::Mount>& mounts) {
  for (const oci::Mount& mount : mounts) {
    if (mount.type != "proc") continue;
    auto place = open_in_root(root.get(), mount.destination, O_PATH);
    if (!place) continue;
    auto mounted = procfs::mount();
    if (!mounted) {
      log_debug("the container's processes are not shown on the host: " + mounted.error().message());
      return std::nullopt;
    }
    put(mounted->tree, *place, mount.destination);
    return std::move(*mounted);
  }
  return std::nullopt;
}

Result<void> follow_the_hosts_mounts() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0)
    return fail_errno("make mounts slaves of the host's");
  return {};
}

// Makes namespaces that belong to a user without privilege. leave_mounts() returns to their copy of the host's mounts,
// since the user has no right to enter the host's own.
Result<void> enter_own_namespaces() {
  TRY_CONTEXT(enter_own_user_namespace(), "make a user namespace for the container");
  if (::unshare(CLONE_NEWNS) < 0) return fail_errno("make a mount namespace");
  return follow_the_hosts_mounts();
}

using NamespaceId = std::pair<dev_t, ino_t>;

std::optional<NamespaceId> network_of(const char* process) {
  struct stat info;
  if (::stat((std::string("/proc/") + process + "/ns/net").c_str(), &info) < 0) return std::nullopt;
  return NamespaceId(info.st_dev, info.st_ino);
}

}  // namespace

Result<HostNamespaces> HostNamespaces::enter(const HostPlan& plan) {
  HostNamespaces host;
  // An unprivileged caller may not look at process 1, and has no right over its namespace.
  const auto callers = network_of("self"), machines = network_of("1");
  int fresh = 0;
  for (const oci::Namespace& wanted : plan.namespaces) {
    for (const auto& [type, flag] : kHostSide) {
      if (wanted.type != type) continue;
      if (!wanted.path.empty()) {
        TRY(join(wanted, flag));
      } else {
        fresh |= flag;
      }
    }
  }
  if (is_unprivileged()) TRY(enter_own_namespaces());
  if (fresh & CLONE_NEWNS) host.host_mounts_ = TRY(open_file("/proc/self/ns/mnt", O_RDONLY));
  if (::unshare(fresh) < 0) return fail_errno("make namespaces for the container");
  if (fresh & CLONE_NEWNS) TRY(follow_the_hosts_mounts());
  const auto own = network_of("self");
  host.has_network_ = own && callers && own != callers && own != machines;
  if (fresh & CLONE_NEWUTS) {
    if (!plan.hostname.empty()) (void)::sethostname(plan.hostname.data(), plan.hostname.size());
    if (!plan.domainname.empty()) (void)::setdomainname(plan.domainname.data(), plan.domainname.size());
  }
  return host;
}

Result<void> HostNamespaces::mount_filesystems(const std::vector<HostFilesystem>& filesystems) const {
  for (const HostFilesystem& wanted : filesystems) {
    std::string what = wanted.name + ": " + wanted.type;
    if (!host_mounts_) return fail(what + " is the host's to mount, and the container has no mount namespace", EINVAL);
    if (::mkdir(wanted.place.c_str(), 0700) < 0) return fail_errno("mkdir " + wanted.place);
    // mount(2), since fsconfig(2) takes no option that is longer than 255 bytes, and an overlay's are.
    if (::mount(wanted.source.c_str(), wanted.place.c_str(), wanted.type.c_str(), wanted.flags, wanted.data.c_str()) <
        0) {
      return fail_errno(what);
    }
  }
  return {};
}

Result<std::optional<procfs::Mounted>> HostNamespaces::show_root(const HostPlan& plan, const Sources& sources) const {
  if (!shows_root(plan)) return std::nullopt;
  const int source = sources.at(plan.rootfs_target);
  Fd root = TRY_CONTEXT(clone_tree(source, "", true), plan.rootfs);
  if (plan.rootfs_readonly) TRY(make_readonly(root, false));
  if (::move_mount(root.get(), "", source, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("mount " + plan.rootfs);
  }
  for (const oci::Mount& mount : plan.mounts) {
    TRY_CONTEXT(show_mount(root, mount, sources, plan.mount_label), "mount on " + mount.destination);
  }
  // The last mount: a look below it would be a request to this process.
  auto proc = show_proc(root, plan.mounts);
  if (::fchdir(root.get()) < 0) return fail_errno("chdir to the root filesystem");
  if (::syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot_root");
  if (::umount2(".", MNT_DETACH) < 0) return fail_errno("unmount the host's root");
  if (::chdir("/") < 0) return fail_errno("chdir /");
  return proc;
}

Result<void> HostNamespaces::leave_mounts() const {
  if (host_mounts_ && ::setns(host_mounts_.get(), CLONE_NEWNS) < 0) return fail_errno("enter the host's mounts");
  return {};
}

}  // namespace nacre::runtime
