// SPDX-License-Identifier: Apache-2.0
// Limits of the host's cgroup as the kernel takes them. `cgroup` is a name as in cgroup.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "oci/cgroup_files.h"

namespace nacre::runtime {

// Returns the limits of linux.resources (checked) that act on the host, for a VM of up to `max_cpus` CPUs. The number
// of tasks is at least what the VM's own threads need. The quota of CPU time is at least a twentieth of a CPU.
Result<std::vector<oci::CgroupFile>> host_files(const nlohmann::json& resources, const std::string& cgroup,
                                                unsigned max_cpus);

// Returns true for a limit that would slow the VM's boot down or stop it. Such a limit is set once the VM has booted,
// before a program of the container runs.
bool waits_for_boot(const oci::CgroupFile& file);

// Returns the files that set the VM's memory limit, in bytes, and the limits that depend on it. nullopt: no limit.
std::vector<oci::CgroupFile> backstop_files(const std::string& cgroup, const nlohmann::json& resources,
                                            std::optional<uint64_t> most);
// Returns the memory limit in force: nullopt without a memory controller, UINT64_MAX if unlimited.
std::optional<uint64_t> current_backstop(const std::string& cgroup);

// Writes limits into the cgroup of a container, and returns the former values, which undo that. If the container has no
// cgroup, a warning names the limits that have no effect.
Result<std::vector<oci::CgroupFile>> set_host_files(const std::string& cgroup,
                                                    const std::vector<oci::CgroupFile>& files);

}  // namespace nacre::runtime
