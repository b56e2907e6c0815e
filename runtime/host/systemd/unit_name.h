// SPDX-License-Identifier: Apache-2.0
// Translates linux.cgroupsPath in systemd's form to names of units, and slices to directories.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::runtime {

struct UnitName {
  std::string unit;   // "prefix-name.scope"
  std::string slice;  // "a-b.slice"; "-.slice" is the root
};

// Parses "slice:prefix:name". Missing parts get runc's defaults, which differ for root's systemd and a user's
// (`of_user`). The name of a slice is refused, because stopping it would stop everything in the slice.
Result<UnitName> parse_unit(const std::string& cgroups_path, const std::string& id, bool of_user);

// Returns the path of a slice (systemd.slice(5)): "/a.slice/a-b.slice" for "a-b.slice", "" for "-.slice".
Result<std::string> expand_slice(const std::string& slice);

}  // namespace nacre::runtime
