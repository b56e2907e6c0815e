#include "base/directory.h"

#include <dirent.h>

namespace nacre {

std::vector<std::string> directories_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return names;
  while (dirent* entry = ::readdir(directory)) {
    std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.push_back(path + "/" + name);
  }
  ::closedir(directory);
  return names;
}

}  // namespace nacre
