// What the two versions of cgroups do in ways of their own. cgroup.h and files.h are what others use.
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
#include "runtime/host/cgroup/oom.h"

namespace nacre::runtime {

// No state: any thread may call. `cgroup` is a name as in cgroup.h.
class CgroupVersion {
 public:
  using Files = std::vector<oci::CgroupFile>;

  virtual ~CgroupVersion() = default;

  // Moves the calling process.
  virtual Result<void> enter(const std::string& cgroup) const = 0;
  // Moves it to the root of the host, and removes the cgroup, whose last process it was.
  virtual void leave_and_remove(const std::string& cgroup) const = 0;
  // Makes one beside it, with a suffix to its name, and moves a process there.
  virtual Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix,
                                          const std::vector<pid_t>& pids) const = 0;
  virtual std::vector<pid_t> processes(const std::string& cgroup) const = 0;
  virtual void remove(const std::string& cgroup) const = 0;
  // What shows a kill for want of memory there (oom.h), with the process of its VM; null where nothing can.
  virtual std::unique_ptr<OomKill> oom_kill(const std::string& cgroup, pid_t vmm) const = 0;

  // The limits of linux.resources that act on the host.
  virtual Result<Files> files(const nlohmann::json& resources, const std::string& cgroup, unsigned max_cpus) const = 0;
  // Writes them, and gives what undoes that; on an error it is undone.
  virtual Result<Files> set(const std::string& cgroup, const Files& files) const = 0;
  // The backstop of memory, of so many bytes, with what has to follow it; none: no limit.
  virtual Files backstop(const nlohmann::json& resources, std::optional<uint64_t> most) const = 0;
  // Now; none: there is no memory controller. UINT64_MAX: no limit.
  virtual std::optional<uint64_t> current_backstop(const std::string& cgroup) const = 0;
};

const CgroupVersion& version_1();
const CgroupVersion& version_2();
// Version 2 with a unit of systemd.
const CgroupVersion& version_with_unit();
bool has_unit(const std::string& cgroup);

// Makes one of a linux.cgroupsPath in cgroupfs form, and returns its name. On an error nothing is left.
Result<std::string> make_v1(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources);
Result<std::string> make_v2(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources);

// That of a cgroup; of the host, where the container has none.
const CgroupVersion& version_of(const std::string& cgroup);

// What the VM has to have for itself of a limit that is the container's: the number of tasks for a VM of up to so many
// CPUs, and the microseconds of each period.
uint64_t least_tasks(unsigned max_cpus);
uint64_t least_quota(uint64_t period);

}  // namespace nacre::runtime
