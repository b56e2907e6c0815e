// Transient units of systemd, over its D-Bus interface (org.freedesktop.systemd1(5)).
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

// Whether ours is the systemd of a user, and not that of the host: no right over the host, no place in its tree.
bool is_users_systemd();

// All wait for what they have asked for, with runc's words where it fails. Systemd 244 or newer.
Result<void> start_unit(const std::string& unit, const UnitProperties& properties);
Result<void> set_unit_properties(const std::string& unit, const UnitProperties& properties);
// Nothing, where there is no such unit.
Result<void> stop_unit(const std::string& unit);
// Moves a process there, where we have no right to it ourselves.
Result<void> attach_process(const std::string& unit, pid_t pid);

}  // namespace nacre::runtime
