// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/cgroup.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/user_namespace.h"
#include "runtime/host/cgroup/v2.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

// Room for the stand-in and its threads (for the container's /proc and the host's mounts), vmm with its loop and its
// file server, the helper that makes device nodes, and some more.
constexpr uint64_t kVmTasks = 10;

bool host_has_version_2() {
  struct statfs info;
  return ::statfs("/sys/fs/cgroup", &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

}  // namespace

const CgroupVersion& version_of(const std::string& cgroup) {
  if (cgroup.empty()) return host_has_version_1() ? version_1() : version_2();
  if (has_unit(cgroup)) return version_with_unit();
  return cgroup.starts_with('{') ? version_1() : version_2();
}

// Returns the tasks that the VM's own threads need. A limit on the container's processes must not stop the VM.
uint64_t least_tasks(unsigned max_cpus) {
  return kVmTasks + max_cpus;
}

// Returns the least quota. A tiny CPU quota must not starve guest-init and the devices. The container itself is still
// held to it by its cgroup in the guest.
uint64_t least_quota(uint64_t period) {
  return period / 20;
}

bool host_has_version_1() {
  static const bool kHas = [] {
    if (host_has_version_2()) return false;
    auto mounts = read_mountinfo();
    return mounts && std::ranges::any_of(*mounts, [](const MountInfo& mount) { return mount.type == "cgroup"; });
  }();
  return kHas;
}

Result<std::string> make_cgroup(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources,
                                const CgroupNotice& notice) {
  bool version_one = host_has_version_1();
  if (!version_one && !host_has_version_2()) {
    log_debug("no cgroup for the container: the host has none");
    return "";
  }
  auto made = version_one ? make_v1(cgroups_path, id, resources, notice) : make_v2(cgroups_path, id, resources, notice);
  if (made) return made;
  int code = made.error().code();
  if (is_host_root() || (code != EACCES && code != EPERM && code != EROFS)) return std::unexpected(made.error());
  std::string without = "no cgroup for the container: " + made.error().message();
  cgroups_path.empty() ? log_debug(without) : log_warn(without);
  return "";
}

Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix, const std::vector<pid_t>& pids) {
  return version_of(cgroup).move_beside(cgroup, suffix, pids);
}

Result<void> enter_cgroup(const std::string& cgroup) {
  return version_of(cgroup).enter(cgroup);
}

Result<void> enter_cgroup_of(pid_t process) {
  return version_2().enter(TRY(cgroup_of(std::to_string(process))));
}

std::vector<pid_t> processes_in(const std::string& cgroup) {
  if (cgroup.empty()) return {};
  return version_of(cgroup).processes(cgroup);
}

void remove_cgroup(const std::string& cgroup) {
  if (!cgroup.empty()) version_of(cgroup).remove(cgroup);
}

void leave_and_remove_cgroup(const std::string& cgroup) {
  if (!cgroup.empty()) version_of(cgroup).leave_and_remove(cgroup);
}

}  // namespace nacre::runtime
