// SPDX-License-Identifier: Apache-2.0
// Makes the directories of a cgroup of version 1, one in each hierarchy, as runc does.
#pragma once

#include <map>
#include <string>

namespace nacre::runtime {

// Directories by controller. Controllers that are mounted together share a directory. "name=systemd" is systemd's
// hierarchy without a controller, and "" is the hierarchy of version 2 beside the others.
using Directories = std::map<std::string, std::string>;

// Returns the directories in a cgroup's name (cgroup.h).
Directories directories_of(const std::string& cgroup);

}  // namespace nacre::runtime
