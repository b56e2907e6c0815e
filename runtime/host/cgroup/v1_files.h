// SPDX-License-Identifier: Apache-2.0
// Translates limits of the host's cgroup to files of version 1 (Documentation/admin-guide/cgroup-v1). The guest always
// has version 2, so this is only for limits that act on the host.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "oci/cgroup_files.h"
#include "runtime/host/cgroup/v1.h"

namespace nacre::runtime {

inline constexpr const char* kMemoryLimit = "memory.limit_in_bytes";

// Returns the files for linux.resources. `directories` decide which weights of I/O there are. The limit of memory is
// not among the files: see v1_backstop().
Result<std::vector<oci::CgroupFile>> v1_files(const nlohmann::json& resources, const Directories& directories,
                                              unsigned max_cpus);

// Returns the files for the VM's memory limit: `most` bytes, and above these the swap that the container may use.
std::vector<oci::CgroupFile> v1_backstop(const nlohmann::json& resources, std::optional<uint64_t> most);

// Replaces the names of files by absolute paths. Names that are paths already stay.
Result<std::vector<oci::CgroupFile>> in_directories(const Directories& directories, std::vector<oci::CgroupFile> files);

}  // namespace nacre::runtime
