// SPDX-License-Identifier: Apache-2.0
// Opens paths inside a container's root file system, which may be hostile. Symbolic links are followed as the container
// would follow them, and never lead out of the root.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

class Rootfs {
 public:
  // `root` is a directory. Paths are resolved below it: "/" and ".." do not lead above.
  explicit Rootfs(Fd root) : root_(std::move(root)) {}

  int fd() const { return root_.get(); }
  Result<Fd> open(const std::string& path, int flags, mode_t mode = 0) const;
  // Returns the path of an open file as the container sees it. The root must be attached.
  Result<std::string> path_of(int fd) const;

  // Open (O_PATH) the directory or file at `path`, or make it with every missing parent. A symbolic link that leads to
  // nothing is an error (EEXIST), as it is for runc since 1.4: an image could have anything made at its target.
  Result<Fd> make_directory(const std::string& path) const;
  Result<Fd> make_file(const std::string& path) const;
  // Like these, but refuse (ELOOP) a symbolic link in the very place, and never follow one that comes there meanwhile.
  Result<Fd> make_plain_directory(const std::string& path) const;
  Result<Fd> make_plain_file(const std::string& path) const;

 private:
  Result<Fd> open_plain(const std::string& path) const;
  Result<Fd> make_component(const std::string& parent, const std::string& name) const;

  Fd root_;
};

// Returns the shortest equal path: "/b" for "/a/../b/".
std::string clean_path(const std::string& path);
// Return "/a" and "b" for "/a/b".
std::string parent_path(const std::string& path);
std::string base_name(const std::string& path);

}  // namespace nacre
