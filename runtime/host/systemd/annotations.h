// SPDX-License-Identifier: Apache-2.0
// Reads properties of a container's unit from annotations.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "runtime/host/systemd/unit.h"

namespace nacre::runtime {

inline constexpr const char* kPropertyAnnotation = "org.systemd.property.";

// Returns the properties of annotations such as "org.systemd.property.TimeoutStopSec": "uint64 5". Fails for properties
// that would reach beyond the unit: dependencies that start or stop other units, and actions of the host.
Result<UnitProperties> annotated_properties(const std::map<std::string, std::string>& annotations);

}  // namespace nacre::runtime
