// Limits of the host's cgroup as the kernel takes them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "guest-init/protocol/cgroup_files.h"

namespace nacre::runtime {

// Those of linux.resources that act on the host, for a VM of up to so many CPUs: pids.max leaves it its own threads,
// cpu.max half a CPU.
// `directory`, the cgroup's, decides which I/O weights there are.
Result<std::vector<protocol::CgroupFile>> host_files(const nlohmann::json& resources, const std::string& directory,
                                                     unsigned max_cpus);

// Writes them into the cgroup of a container, and gives what undoes that; where it has none a warning names what is
// lost.
Result<std::vector<protocol::CgroupFile>> set_host_files(const std::string& directory,
                                                         const std::vector<protocol::CgroupFile>& files);

// Whether any of linux.resources needs a controller that threaded cgroups do not have.
bool needs_domain(const nlohmann::json& resources);

}  // namespace nacre::runtime
