// What /proc says of processes, for `ps` on the host.
#pragma once

#include <sys/types.h>

#include <vector>

#include <nlohmann/json.hpp>

namespace nacre::guest {

// The "processes" reply (protocol.h). Processes that end meanwhile are left out. May block.
nlohmann::json list_processes(const std::vector<pid_t>& pids);

}  // namespace nacre::guest
