// Limits of the host's cgroup as version 2 takes them.
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

// Those of linux.resources that act on the host. `directory`, the cgroup's, decides which I/O weights there are.
Result<std::vector<oci::CgroupFile>> v2_files(const nlohmann::json& resources, const std::string& directory,
                                              unsigned max_cpus);

// A number that is all of `text`; what else it may be is the kernel's to judge.
std::optional<uint64_t> number_in(std::string_view text);

// cpu.max, "QUOTA PERIOD", where both are numbers.
struct CpuMax {
  uint64_t quota, period;  // microseconds; the period is not 0
};
std::optional<CpuMax> parse_cpu_max(std::string_view text);
std::string to_text(const CpuMax& cpu_max);

// Whether any of linux.resources needs a controller that threaded cgroups do not have.
bool needs_domain(const nlohmann::json& resources);

}  // namespace nacre::runtime
