// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/sources.h"

#include <fcntl.h>
#include <sys/mount.h>

namespace nacre::runtime {

Result<Sources> Sources::open(const vmm::Fs& share) {
  Sources sources;
  for (const vmm::FsMount& mount : share.mounts) {
    // Unlike open(2) with O_PATH, this mounts what an automounter has not mounted yet.
    Fd source(::open_tree(AT_FDCWD, mount.source.c_str(), OPEN_TREE_CLOEXEC));
    if (!source) return fail_errno(mount.source);
    sources.opened_.insert_or_assign(mount.target, std::move(source));
  }
  return sources;
}

}  // namespace nacre::runtime
