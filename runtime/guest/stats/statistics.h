// SPDX-License-Identifier: Apache-2.0
// Returns a container's figures as `events` prints them. The structure is runc's, with the names of cgroup v1. It is
// filled from the guest's cgroup v2 files, which are mapped as in runc.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "guest-init/protocol/messages.h"

namespace nacre::stats {

// Reads the figures from the guest's answer. The answer is not trusted: invalid lines count as absent, and only numbers
// and short names are taken over.
nlohmann::ordered_json from_guest(const protocol::StatisticsReply& reply);

// Returns a line of JSON: {"type": ..., "id": ... [, "data": ...]}.
std::string event_line(const std::string& type, const std::string& id, const nlohmann::ordered_json* data);

}  // namespace nacre::stats
