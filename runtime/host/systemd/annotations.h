// Properties of a container's unit that annotations ask for.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "runtime/host/systemd/unit.h"

namespace nacre::runtime {

inline constexpr const char* kPropertyAnnotation = "org.systemd.property.";

// Those of annotations such as "org.systemd.property.TimeoutStopSec": "uint64 5". An error for what would reach beyond
// the unit: dependencies that start or stop others, and actions of the host.
Result<UnitProperties> annotated_properties(const std::map<std::string, std::string>& annotations);

}  // namespace nacre::runtime
