// SPDX-License-Identifier: Apache-2.0
// Makes a cgroup of version 2: a directory, whose path is the cgroup's name.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// Returns the directory of a linux.cgroupsPath in cgroupfs form. An absolute path is below the mount point. A relative
// path is beside our own cgroup; so is the id, if the path is empty. ".." does not lead out.
Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id);

// Returns the cgroup directory of a process, "self" or a pid.
Result<std::string> cgroup_of(const std::string& process);

// Fails, in runc's words, if the cgroup is frozen or if others use it.
Result<void> check_existing(const std::string& directory);

// Makes the directory, and enables all controllers in its parents. On an error nothing is left.
Result<void> make_directory_v2(const std::string& directory, const nlohmann::json& resources);

}  // namespace nacre::runtime
