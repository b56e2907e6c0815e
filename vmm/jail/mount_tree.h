// The jail's mount tree.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

struct MountTree {
  std::vector<Fd> fs_roots;  // one O_PATH directory per config.fs
  Fd proc_self_fd;
};

// Leaves the caller in a new mount namespace, in the new tree.
Result<MountTree> enter_mount_tree(const Config& config);

}  // namespace nacre::vmm
