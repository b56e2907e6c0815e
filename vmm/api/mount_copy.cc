// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/mount_copy.h"

#include <fcntl.h>
#include <sys/mount.h>

namespace nacre::vmm {

namespace {

// No program of a share runs on the host, and no link of a share leads anywhere there, whatever vmm's server does. In
// the guest programs run and links lead: the guest's own mount decides that. /proc/self/fd, through which files are
// opened again, is another mount.
constexpr uint64_t kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;

}  // namespace

Result<Fd> copy_mount(const FsMount& mount, int source) {
  const std::string& path = mount.source;
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (mount.recursive ? AT_RECURSIVE : 0u);
  Fd tree(source < 0 ? ::open_tree(AT_FDCWD, path.c_str(), flags) : ::open_tree(source, "", flags | AT_EMPTY_PATH));
  if (!tree) return fail_errno(path);
  mount_attr all{};
  all.attr_set = kAttributes | (mount.readonly_below ? MOUNT_ATTR_RDONLY : 0);
  all.propagation = MS_PRIVATE;
  mount_attr top{};
  top.attr_set = mount.readonly ? MOUNT_ATTR_RDONLY : 0;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &all, sizeof(all)) < 0 ||
      ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &top, sizeof(top)) < 0) {
    return fail_errno("mount_setattr " + path);
  }
  return tree;
}

}  // namespace nacre::vmm
