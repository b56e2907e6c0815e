// cgroup version 2: one directory, whose name is the cgroup's.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// The directory that a linux.cgroupsPath in cgroupfs form stands for: an absolute path is below the mount point, a
// relative one (or the id, where there is none) beside our own cgroup. ".." does not lead out.
Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id);

// The directory of a process, "self" or a pid.
Result<std::string> cgroup_of(const std::string& process);

// An error, with runc's words, for one that is frozen, or that others use.
Result<void> check_existing(const std::string& directory);

// With all controllers on the way to it. On an error nothing is left.
Result<void> make_directory_v2(const std::string& directory, const nlohmann::json& resources);

}  // namespace nacre::runtime
