// A container's figures as `events` prints them: runc's structure, which has cgroup v1's names, filled from the guest's
// cgroup v2 files the way runc maps them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "guest-init/protocol/messages.h"

namespace nacre::stats {

// Takes the figures from the guest's answer, which nobody trusts: lines that are not understood count as absent, and
// only numbers and short names come out.
nlohmann::ordered_json from_guest(const protocol::StatisticsReply& reply);

// {"type": ..., "id": ... [, "data": ...]}, a line.
std::string event_line(const std::string& type, const std::string& id, const nlohmann::ordered_json* data);

}  // namespace nacre::stats
