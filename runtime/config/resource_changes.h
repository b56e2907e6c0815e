// What `update` changes of a container's linux.resources.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::update {

// The command line's values; empty: not given.
struct Flags {
  std::string blkio_weight = {}, cpu_period = {}, cpu_quota = {}, cpu_burst = {}, cpu_share = {}, cpu_rt_period = {};
  std::string cpu_rt_runtime = {}, cpu_idle = {};
  std::string cpuset_cpus = {}, cpuset_mems = {};
  std::string memory = {}, memory_reservation = {}, memory_swap = {}, kernel_memory = {}, kernel_memory_tcp = {};
  std::string pids_limit = {};
};

// As linux.resources.
Result<nlohmann::json> from_flags(const Flags& flags);

// Checks linux.resources of a caller and leaves in it what can be changed: zero and "" mean "as it is", as for runc.
Result<nlohmann::json> check_changes(nlohmann::json resources, std::vector<std::string>& warnings);

struct Merged {
  nlohmann::json apply;  // the changes, with what must be set together with them
  nlohmann::json keep;   // all of the container's, for the next update
};
Merged merge(const nlohmann::json& kept, const nlohmann::json& changes);

// "128m", "1.5GiB", "4096": units.RAMInBytes of Docker's go-units.
Result<int64_t> parse_memory(const std::string& text);

}  // namespace nacre::update
