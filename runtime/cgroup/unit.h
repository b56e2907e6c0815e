// Transient units of systemd, over its D-Bus interface (org.freedesktop.systemd1(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/cgroup_files.h"

namespace nacre::runtime {

using PropertyValue = std::variant<bool, int32_t, uint32_t, int64_t, uint64_t, double, std::string,
                                   std::vector<std::string>, std::vector<uint32_t>, std::vector<uint8_t>>;
struct UnitProperty {
  std::string name;
  PropertyValue value;
};
using UnitProperties = std::vector<UnitProperty>;

// For root systemd's own unit, for others one of their own systemd. Both wait for what they have asked for, with runc's
// words where it fails.
Result<void> start_unit(const std::string& unit, const UnitProperties& properties);
Result<void> set_unit_properties(const std::string& unit, const UnitProperties& properties);
// Nothing, where there is no such unit.
Result<void> stop_unit(const std::string& unit);

// The cgroup of that systemd, below which the slices are: "" for root's.
Result<std::string> manager_cgroup();

// What systemd has to know of files of a version 2 cgroup, which it writes itself at times: the values are the same.
UnitProperties properties_of(const std::vector<protocol::CgroupFile>& files);

// Those of annotations such as "org.systemd.property.TimeoutStopSec": "uint64 5".
Result<UnitProperties> annotated_properties(const std::map<std::string, std::string>& annotations);

}  // namespace nacre::runtime
