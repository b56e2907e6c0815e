// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/host_mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ranges>

#include "base/fd.h"
#include "oci/mount_options.h"

namespace nacre::guest {

namespace {

constexpr uint64_t kAttributes = [] {
  uint64_t all = 0;
  for (const auto& attribute : oci::kMountAttributes) all |= attribute.set | attribute.clear;
  return all;
}();

// Opens a path without symbolic links: the host's paths have none, but a container may have put one in a directory's
// place meanwhile.
Result<Fd> open_plain(const Fd& share, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  Fd file(static_cast<int>(::syscall(SYS_openat2, share.get(), path.c_str(), &how, sizeof(how))));
  if (!file) return fail_errno("open " + path);
  return file;
}

Result<void> make_mount(const Fd& share, const HostMount& mount) {
  Fd place = TRY(open_plain(share, mount.path));
  Fd source = mount.source.empty() ? TRY(place.dup()) : TRY(open_plain(share, mount.source));
  Fd tree(::open_tree(source.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) return fail_errno("bind");
  // The copy is in the peer group of the mount that it lies in, so that mounts in the one would appear in the other: it
  // gets a group of its own.
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

HostMount parse_host_mount(const protocol::HostMount& mount) {
  HostMount parsed{.path = mount.path, .source = mount.source};
  for (const std::string& option : mount.options) {
    for (const auto& attribute : oci::kMountAttributes) {
      if (attribute.name == option) parsed.attributes |= attribute.set;
    }
  }
  return parsed;
}

Result<void> attach_host_mount(const std::string& share, const HostMount& mount) {
  Fd root = TRY(open_file(share, O_PATH | O_DIRECTORY));
  TRY_CONTEXT(make_mount(root, mount), "mount of the host at " + mount.path);
  return {};
}

Result<void> detach_host_mount(const std::string& share, const std::string& path) {
  Fd root = TRY(open_file(share, O_PATH | O_DIRECTORY));
  Fd mount = TRY(open_plain(root, path));
  std::string descriptor = "/proc/self/fd/" + std::to_string(mount.get());
  if (::umount2(descriptor.c_str(), MNT_DETACH) < 0) return fail_errno("unmount " + path);
  return {};
}

Result<HostMounts> HostMounts::make(const std::string& share, const std::vector<protocol::HostMount>& mounts) {
  HostMounts made(share);
  for (const protocol::HostMount& mount : mounts) {
    TRY(attach_host_mount(share, parse_host_mount(mount)));
    made.add(mount.path);
  }
  return made;
}

void HostMounts::remove(const std::string& path) {
  auto last = std::find(paths_.rbegin(), paths_.rend(), path);
  if (last != paths_.rend()) paths_.erase(std::next(last).base());
}

HostMounts::~HostMounts() {
  for (const std::string& path : std::views::reverse(paths_)) (void)detach_host_mount(share_, path);
}

}  // namespace nacre::guest
