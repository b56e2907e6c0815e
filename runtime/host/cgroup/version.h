// SPDX-License-Identifier: Apache-2.0
// The interface between cgroup.h and the versions of cgroups. Other folders use cgroup.h and files.h.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "oci/cgroup_files.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/oom.h"

namespace nacre::runtime {

// One version of cgroups. Has no state, so any thread may call. `cgroup` is a name as in cgroup.h.
class CgroupVersion {
 public:
  using Files = std::vector<oci::CgroupFile>;

  virtual ~CgroupVersion() = default;

  // Moves the calling process into the cgroup.
  virtual Result<void> enter(const std::string& cgroup) const = 0;
  // Moves the calling process, the last one in the cgroup, to the host's root cgroup, and removes the cgroup.
  virtual void leave_and_remove(const std::string& cgroup) const = 0;
  // Makes a cgroup beside `cgroup`, with a suffix to its name, moves `pids` there, and returns the new cgroup's name.
  virtual Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix,
                                          const std::vector<pid_t>& pids) const = 0;
  virtual std::vector<pid_t> processes(const std::string& cgroup) const = 0;
  virtual void remove(const std::string& cgroup) const = 0;
  // Returns the object that shows out-of-memory kills in the cgroup (oom.h), or null if that is impossible. `vmm` is
  // the process of the VM.
  virtual std::unique_ptr<OomKill> oom_kill(const std::string& cgroup, pid_t vmm) const = 0;

  // Returns the limits of linux.resources that act on the host.
  virtual Result<Files> files(const nlohmann::json& resources, const std::string& cgroup, unsigned max_cpus) const = 0;
  // Writes limits, and returns the former values, which undo that. On an error nothing has changed.
  virtual Result<Files> set(const std::string& cgroup, const Files& files) const = 0;
  // Returns the files that set the memory backstop to `most` bytes, and the limits that depend on it. nullopt: no
  // limit.
  virtual Files backstop(const nlohmann::json& resources, std::optional<uint64_t> most) const = 0;
  // Returns the backstop in force: nullopt without a memory controller, UINT64_MAX if unlimited.
  virtual std::optional<uint64_t> current_backstop(const std::string& cgroup) const = 0;
};

const CgroupVersion& version_1();
const CgroupVersion& version_2();
// Returns version 2 with a unit of systemd.
const CgroupVersion& version_with_unit();
bool has_unit(const std::string& cgroup);

// Make the cgroup of a linux.cgroupsPath in cgroupfs form, and return its name. On an error nothing is left.
Result<std::string> make_v1(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources,
                            const CgroupNotice& notice);
Result<std::string> make_v2(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources,
                            const CgroupNotice& notice);

// Returns the version of a cgroup, or the host's version if `cgroup` is empty.
const CgroupVersion& version_of(const std::string& cgroup);

// Return what the VM needs for itself of a limit on the container: the tasks of a VM of up to `max_cpus` CPUs, and the
// microseconds of CPU time in each `period`.
uint64_t least_tasks(unsigned max_cpus);
uint64_t least_quota(uint64_t period);

}  // namespace nacre::runtime
