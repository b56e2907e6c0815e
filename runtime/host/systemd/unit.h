// SPDX-License-Identifier: Apache-2.0
// Starts and stops transient units of systemd, over its D-Bus interface (org.freedesktop.systemd1(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace nacre::runtime {

using PropertyValue = std::variant<bool, int32_t, uint32_t, int64_t, uint64_t, double, std::string,
                                   std::vector<std::string>, std::vector<uint32_t>, std::vector<uint8_t>>;
struct UnitProperty {
  std::string name;
  PropertyValue value;
};
using UnitProperties = std::vector<UnitProperty>;

// Returns true if this process uses a user's systemd and not the host's. That instance has no rights over the host, and
// its units are below the user's own.
bool is_users_systemd();

// Starts a unit and waits for the job. All functions below wait for their jobs, and fail with runc's words. Needs
// systemd 244 or newer.
Result<void> start_unit(const std::string& unit, const UnitProperties& properties);
Result<void> set_unit_properties(const std::string& unit, const UnitProperties& properties);
// Stops a unit. Does nothing if there is no such unit.
Result<void> stop_unit(const std::string& unit);
// Moves a process into a unit, if this process has no right to do so itself.
Result<void> attach_process(const std::string& unit, pid_t pid);

}  // namespace nacre::runtime
