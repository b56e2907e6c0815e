// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/shared_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mount.h"

namespace nacre::guest {

Result<std::shared_ptr<SharedMount>> SharedMount::make(const std::string& directory, const MountSpec& mount) {
  Fd filesystem = TRY(make_filesystem(mount.type, mount.source, mount.options, 0));
  if (::mkdir(directory.c_str(), 0700) < 0) return fail_errno("mkdir " + directory);
  std::shared_ptr<SharedMount> shared(new SharedMount(directory));
  if (::move_mount(filesystem.get(), "", AT_FDCWD, directory.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0) {
    return fail_errno("mount " + directory);
  }
  return shared;
}

SharedMount::~SharedMount() {
  ::umount2(directory_.c_str(), MNT_DETACH);
  ::rmdir(directory_.c_str());
}

Result<Fd> SharedMount::copy() const {
  Fd tree(::open_tree(AT_FDCWD, directory_.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return fail_errno("bind " + directory_);
  // What one container mounts there does not show in the others.
  mount_attr attributes{};
  attributes.propagation = MS_PRIVATE;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
    return fail_errno("mount_setattr");
  }
  return tree;
}

Result<std::shared_ptr<SharedMount>> SharedMounts::find_or_make(const std::string& key, const MountSpec& mount) {
  std::erase_if(mounts_, [](const auto& entry) { return entry.second.expired(); });
  if (auto known = mounts_[key].lock()) return known;
  if (::mkdir(directory_.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno("mkdir " + directory_);
  auto made = TRY(SharedMount::make(directory_ + "/" + std::to_string(count_++), mount));
  mounts_[key] = made;
  return made;
}

}  // namespace nacre::guest
