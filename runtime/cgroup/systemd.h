// linux.cgroupsPath in systemd's form, for --systemd-cgroup.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::runtime {

// "slice:prefix:name" as the path of the cgroup that systemd would make for it: the slice's own place and
// "prefix-name.scope" in it. The unit itself is not made (ARCHITECTURE.md, "Not right yet"). An error where the host
// does not run systemd.
Result<std::string> systemd_cgroups_path(const std::string& cgroups_path, const std::string& id);

// systemd.slice(5): "a-b.slice" is in "a.slice", and "-.slice" is the root.
Result<std::string> expand_slice(const std::string& slice);

}  // namespace nacre::runtime
