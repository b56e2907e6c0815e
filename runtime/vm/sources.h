// SPDX-License-Identifier: Apache-2.0
// The directories and files of the host that a container is served: its root filesystem and its bind mounts.
#pragma once

#include <map>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// Looks each path up once, and holds what was found there. Whoever may write to a directory above a source can put a
// link in its place at any moment: another container, for example, that has this directory as a volume. Everybody who
// needs the source takes it from here, so that vmm does not serve one file while the host shows another.
class Sources {
 public:
  Sources() = default;
  // Opens the sources of all mounts of a share, for nothing but their path (O_PATH). An error names the path.
  static Result<Sources> open(const vmm::Fs& share);

  // Returns the descriptor of what is served under `target` (FsMount::target). It is valid as long as this object.
  int at(const std::string& target) const { return opened_.at(target).get(); }

 private:
  std::map<std::string, Fd> opened_;
};

}  // namespace nacre::runtime
