// cgroup version 2: one directory, whose name is the cgroup's.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::runtime {

// The directory that a linux.cgroupsPath in cgroupfs form stands for: an absolute path is below the mount point, a
// relative one (or the id, where there is none) beside our own cgroup. ".." does not lead out.
Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id);

}  // namespace nacre::runtime
