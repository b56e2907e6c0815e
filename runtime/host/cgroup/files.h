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

// Those of linux.resources (checked) that act on the host, for a VM of up to so many CPUs: the number of tasks leaves
// it its own threads, the quota of CPU time a twentieth of a CPU.
Result<std::vector<oci::CgroupFile>> host_files(const nlohmann::json& resources, const std::string& cgroup,
                                                unsigned max_cpus);

// Limits that would slow the VM's boot down, or stop it, and are no use before a program of the container runs.
bool waits_for_boot(const oci::CgroupFile& file);

// The limit of memory, in bytes, of a VM for linux.resources, with what has to follow it; none: it has no limit.
std::vector<oci::CgroupFile> backstop_files(const std::string& cgroup, const nlohmann::json& resources,
                                            std::optional<uint64_t> most);
// What that is now, UINT64_MAX for no limit; none where there is no cgroup of memory.
std::optional<uint64_t> current_backstop(const std::string& cgroup);

// Writes them into the cgroup of a container, and gives what undoes that; where it has none a warning names what is
// lost.
Result<std::vector<oci::CgroupFile>> set_host_files(const std::string& cgroup,
                                                    const std::vector<oci::CgroupFile>& files);

}  // namespace nacre::runtime
