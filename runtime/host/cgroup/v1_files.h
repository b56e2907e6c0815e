// Limits of the host's cgroup as version 1 takes them (Documentation/admin-guide/cgroup-v1). In the guest there is
// version 2: this is for what acts on the host (ARCHITECTURE.md, "Limits").
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

// Those of linux.resources. `directories` decide which weights of I/O there are. The limit of memory is not among them.
Result<std::vector<oci::CgroupFile>> v1_files(const nlohmann::json& resources, const Directories& directories,
                                              unsigned max_cpus);

// That is for the VM: so many bytes, and what the container may have of swap above them.
std::vector<oci::CgroupFile> v1_backstop(const nlohmann::json& resources, std::optional<uint64_t> most);

// With names that are paths from the root. Names that are paths already stay.
Result<std::vector<oci::CgroupFile>> in_directories(const Directories& directories, std::vector<oci::CgroupFile> files);

}  // namespace nacre::runtime
