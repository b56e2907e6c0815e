// Paths inside a container's root file system, which may be hostile: its symbolic links are followed as the container
// would follow them, and never lead out of it.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

class Rootfs {
 public:
  // Paths are resolved below `root`, a directory; "/" and ".." mean that directory.
  explicit Rootfs(Fd root) : root_(std::move(root)) {}

  int fd() const { return root_.get(); }
  Result<Fd> open(const std::string& path, int flags, mode_t mode = 0) const;
  // Where an open file is, as the container sees it. The root must be attached.
  Result<std::string> path_of(int fd) const;

  // Opens (O_PATH) what is there, or makes it with every missing parent. A dangling symbolic link on the way is
  // completed: what it points to is made.
  Result<Fd> make_directory(const std::string& path) const;
  Result<Fd> make_file(const std::string& path) const;

 private:
  Result<Fd> make_directory(const std::string& path, int links_left) const;
  Result<Fd> make_file(const std::string& path, int links_left) const;
  Result<Fd> make_component(const std::string& parent, const std::string& name, int links_left) const;

  Fd root_;
};

// "/a/../b/" is "/b".
std::string clean_path(const std::string& path);
// "/a/b" gives "/a" and "b".
std::string parent_path(const std::string& path);
std::string base_name(const std::string& path);

}  // namespace nacre
