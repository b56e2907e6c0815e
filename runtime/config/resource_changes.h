// SPDX-License-Identifier: Apache-2.0
// How `update` changes a container's linux.resources.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::oci {

// The values of the command line's flags. An empty one was not given.
struct ResourceFlags {
  std::string blkio_weight = {}, cpu_period = {}, cpu_quota = {}, cpu_burst = {}, cpu_share = {}, cpu_rt_period = {};
  std::string cpu_rt_runtime = {}, cpu_idle = {};
  std::string cpuset_cpus = {}, cpuset_mems = {};
  std::string memory = {}, memory_reservation = {}, memory_swap = {}, kernel_memory = {}, kernel_memory_tcp = {};
  std::string pids_limit = {};
};

// Returns the flags in the form of linux.resources.
Result<nlohmann::json> from_flags(const ResourceFlags& flags);

// Checks linux.resources of a caller and returns what it changes: zero and "" change nothing, as for runc.
Result<nlohmann::json> check_changes(nlohmann::json resources, std::vector<std::string>& warnings);

struct Merged {
  nlohmann::json apply;  // the changes, with what must be set together with them
  nlohmann::json keep;   // all of the container's resources, for the next update
};
// Merges changes with the container's resources.
Merged merge(const nlohmann::json& kept, const nlohmann::json& changes);

// Parses a size like "128m", "1.5GiB" or "4096", as units.RAMInBytes of Docker's go-units does.
Result<int64_t> parse_memory(const std::string& text);

}  // namespace nacre::oci
