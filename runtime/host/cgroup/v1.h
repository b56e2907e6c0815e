// cgroup version 1: a directory in each hierarchy, as runc makes them.
#pragma once

#include <map>
#include <string>

namespace nacre::runtime {

// By controller; those that are mounted together share one. "name=systemd" is systemd's hierarchy without a controller,
// "" that of version 2 beside them.
using Directories = std::map<std::string, std::string>;

// Those that a cgroup's name tells.
Directories directories_of(const std::string& cgroup);

}  // namespace nacre::runtime
