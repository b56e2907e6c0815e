// What resctrl says of a container's group, as `events` prints it.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/host/resctrl/group.h"

namespace nacre::resctrl {

// runc's "intel_rdt". Figures of a group that others are in too are theirs as well.
Result<nlohmann::ordered_json> figures(const std::string& root, const Group& group);

}  // namespace nacre::resctrl
