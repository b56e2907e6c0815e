// SPDX-License-Identifier: Apache-2.0
// Reads the figures of a container's resctrl group, as `events` prints them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/host/resctrl/group.h"

namespace nacre::resctrl {

// Returns runc's "intel_rdt" object. If others share the group, the figures include theirs.
Result<nlohmann::ordered_json> figures(const std::string& root, const Group& group);

}  // namespace nacre::resctrl
