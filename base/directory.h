// What is in a directory.
#pragma once

#include <string>
#include <vector>

namespace nacre {

// Paths of the directories in one, unsorted; none where it cannot be read.
std::vector<std::string> directories_in(const std::string& path);

}  // namespace nacre
