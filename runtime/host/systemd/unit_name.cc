// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/systemd/unit_name.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace nacre::runtime {

namespace {

constexpr std::string_view kSlice = ".slice";
constexpr const char* kDefaultPrefix = "nacre";
constexpr size_t kMaxName = 255;  // UNIT_NAME_MAX of systemd

}  // namespace

Result<UnitName> parse_unit(const std::string& cgroups_path, const std::string& id, bool of_user) {
  std::string slice, prefix = kDefaultPrefix, name = id;
  if (!cgroups_path.empty()) {
    size_t first = cgroups_path.find(':'), second = cgroups_path.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos ||
        cgroups_path.find(':', second + 1) != std::string::npos || cgroups_path.contains('/')) {
      return fail("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"" +
                      cgroups_path + "\" instead",
                  EINVAL);
    }
    slice = cgroups_path.substr(0, first);
    prefix = cgroups_path.substr(first + 1, second - first - 1);
    name = cgroups_path.substr(second + 1);
  }
  if (name.ends_with(kSlice)) return fail("cgroupsPath: a slice cannot be a container's unit: " + name, EINVAL);
  UnitName unit{.unit = prefix + "-" + name + ".scope", .slice = slice};
  if (slice.empty()) unit.slice = of_user ? "user.slice" : "system.slice";
  for (const std::string& each : {unit.unit, unit.slice}) {
    if (each.size() > kMaxName) return fail("cgroupsPath: a unit's name has at most 255 bytes", ENAMETOOLONG);
  }
  TRY(expand_slice(unit.slice));
  return unit;
}

Result<std::string> expand_slice(const std::string& slice) {
  auto wrong = [&slice] { return fail("invalid slice name: " + slice, EINVAL); };
  if (slice == "-.slice") return "";
  if (!slice.ends_with(kSlice) || slice.size() == kSlice.size() || slice.contains('/')) return wrong();
  std::string name = slice.substr(0, slice.size() - kSlice.size());
  std::string path;
  for (size_t at = 0; at <= name.size();) {
    size_t end = std::min(name.find('-', at), name.size());
    if (end == at) return wrong();
    path += "/" + name.substr(0, end) + std::string(kSlice);
    at = end + 1;
  }
  return path;
}

}  // namespace nacre::runtime
