// SPDX-License-Identifier: Apache-2.0
// Builds the mount tree of the jail.
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

// Moves the caller into a new mount namespace with the new tree as its root.
Result<MountTree> enter_mount_tree(const Config& config);

}  // namespace nacre::vmm
