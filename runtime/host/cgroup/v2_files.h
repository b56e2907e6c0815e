// SPDX-License-Identifier: Apache-2.0
// Translates limits of the host's cgroup to files of version 2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "oci/cgroup_files.h"

namespace nacre::runtime {

// Returns the files for the limits of linux.resources that act on the host. `directory` is the cgroup's: it decides
// which I/O weights there are.
Result<std::vector<oci::CgroupFile>> v2_files(const nlohmann::json& resources, const std::string& directory,
                                              unsigned max_cpus);

// Returns the number if all of `text` is one. For any other text the kernel decides whether it is valid.
std::optional<uint64_t> number_in(std::string_view text);

// The content of cpu.max, "QUOTA PERIOD", if both are numbers.
struct CpuMax {
  uint64_t quota, period;  // microseconds; the period is not 0
};
std::optional<CpuMax> parse_cpu_max(std::string_view text);
std::string to_text(const CpuMax& cpu_max);

// Returns true if a limit of linux.resources needs a controller that threaded cgroups lack.
bool needs_domain(const nlohmann::json& resources);

}  // namespace nacre::runtime
