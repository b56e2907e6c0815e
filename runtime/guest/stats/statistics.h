// A container's figures as `events` prints them: runc's structure, which has cgroup v1's names, filled from the guest's
// cgroup v2 files the way runc maps them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::stats {

// From the guest's "statistics" reply (guest-init/protocol), which nobody trusts: lines that are not understood count
// as absent, and what is printed is numbers and short names.
Result<nlohmann::ordered_json> from_guest(const nlohmann::json& reply);

// {"type": ..., "id": ... [, "data": ...]}, a line.
std::string event_line(const std::string& type, const std::string& id, const nlohmann::ordered_json* data);

}  // namespace nacre::stats
