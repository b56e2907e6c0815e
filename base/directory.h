// SPDX-License-Identifier: Apache-2.0
// Directories of the host, by path.
#pragma once

#include <string>
#include <vector>

namespace nacre {

// Returns the paths of the directories in a directory, unsorted; none if it cannot be read.
std::vector<std::string> directories_in(const std::string& path);

// Removes a directory and the directories below it, as a cgroup has to be removed: their files go by themselves.
// Returns false, with the reason in errno, if one of them stays. A directory that is not there counts as removed.
bool remove_directories(const std::string& path);

}  // namespace nacre
