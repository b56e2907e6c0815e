// Names of units: linux.cgroupsPath in systemd's form, and where in the tree systemd has a slice.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::runtime {

struct UnitName {
  std::string unit;   // "prefix-name.scope"
  std::string slice;  // "a-b.slice"; "-.slice" is the root
};

// "slice:prefix:name". Without a path, and where one has no slice, these are as runc has them, for root's systemd or a
// user's. A name that is a slice's is refused: its end would be that of all that is in the slice.
Result<UnitName> parse_unit(const std::string& cgroups_path, const std::string& id, bool of_user);

// systemd.slice(5): the path of "a-b.slice" is "/a.slice/a-b.slice", that of "-.slice" empty.
Result<std::string> expand_slice(const std::string& slice);

}  // namespace nacre::runtime
