// Limits of the host's cgroup as version 2 takes them.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "guest-init/protocol/cgroup_files.h"

namespace nacre::runtime {

// Those of linux.resources that act on the host. `directory`, the cgroup's, decides which I/O weights there are.
Result<std::vector<protocol::CgroupFile>> v2_files(const nlohmann::json& resources, const std::string& directory,
                                                   unsigned max_cpus);

// Whether any of linux.resources needs a controller that threaded cgroups do not have.
bool needs_domain(const nlohmann::json& resources);

}  // namespace nacre::runtime
