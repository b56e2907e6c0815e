#include "guest-init/host_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <ranges>

#include "base/rootfs.h"
#include "guest-init/protocol/mount_options.h"

namespace nacre::guest {

namespace {

constexpr uint64_t kAttributes = [] {
  uint64_t all = 0;
  for (const auto& attribute : protocol::kMountAttributes) all |= attribute.set | attribute.clear;
  return all;
}();

Result<void> make_mount(const Rootfs& share, const HostMount& mount) {
  Fd place = TRY(share.open(mount.path, O_PATH));
  Fd tree(::open_tree(place.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) return fail_errno("bind");
  // The copy is of the same group as the mount that it lies in, where what is mounted in the one appears in the other:
  // it gets one of its own.
  mount_attr attributes{}, shared{};
  attributes.attr_clr = kAttributes;
  attributes.attr_set = mount.attributes;
  attributes.propagation = MS_PRIVATE;
  shared.propagation = MS_SHARED;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0 ||
      ::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &shared, sizeof(shared)) < 0) {
    return fail_errno("mount_setattr");
  }
  if (::move_mount(tree.get(), "", place.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("attach");
  }
  return {};
}

}  // namespace

Result<std::vector<HostMount>> parse_host_mounts(const Field& list) {
  std::vector<HostMount> mounts;
  for (const Field& entry : TRY(list.list())) {
    HostMount mount;
    mount.path = TRY(TRY(entry.member("path")).string());
    for (const std::string& option : TRY(TRY(entry.member("options")).strings())) {
      for (const auto& attribute : protocol::kMountAttributes) {
        if (attribute.name == option) mount.attributes |= attribute.set;
      }
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<HostMounts> HostMounts::make(const std::string& share, const std::vector<HostMount>& mounts) {
  HostMounts made;
  if (mounts.empty()) return made;
  Rootfs root(TRY(open_file(share, O_PATH | O_DIRECTORY)));
  for (const HostMount& mount : mounts) {
    TRY_CONTEXT(make_mount(root, mount), "mount of the host at " + mount.path);
    made.paths_.push_back(share + "/" + mount.path);
  }
  return made;
}

HostMounts::~HostMounts() {
  for (const std::string& path : std::views::reverse(paths_)) {
    ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

}  // namespace nacre::guest
