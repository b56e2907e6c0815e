// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/mount_tree.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/confinement.h"
#include "base/mount.h"
#include "base/rootfs.h"
#include "vmm/api/mount_copy.h"

namespace nacre::vmm {

namespace {

// The tree is put together here. Any directory that every host has would do; it is covered in our namespace only.
constexpr const char* kAssembly = "/dev";

// Returns a copy of the mount of /proc/self/fd, so that "/proc/self/fd/.." and the like do not lead out of it.
Result<Fd> open_own_descriptors() {
  Fd tree = TRY(clone_tree(AT_FDCWD, "/proc/self/fd", false));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
    return fail_errno("mount_setattr /proc/self/fd");
  }
  return tree;
}

Result<void> make_parents(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (::mkdir(path.substr(0, slash).c_str(), 0755) < 0 && errno != EEXIST) return fail_errno("mkdir " + path);
  }
  return {};
}

// Moves the tree to `target` of a share. Makes an empty directory or file there first, as the tree's root is one or the
// other. The share may be a directory of the host that others can write to, and this process still has the host's
// privilege, so a link there must not lead to the host's files.
Result<void> attach(const Fd& tree, const Rootfs& share, const std::string& target) {
  struct stat info;
  if (::fstat(tree.get(), &info) < 0) return fail_errno("fstat");
  Fd place = TRY(S_ISDIR(info.st_mode) ? share.make_directory(target) : share.make_file(target));
  constexpr unsigned kByDescriptors = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  if (::move_mount(tree.get(), "", place.get(), "", kByDescriptors) < 0) return fail_errno("move_mount " + target);
  return {};
}

struct ShareCopy {
  Fd base;                                         // of fs.path; invalid: the share is mounts only
  std::vector<std::pair<Fd, std::string>> mounts;  // tree, target
};

// Takes all copies before the assembly directory covers anything that they might come from.
Result<std::vector<ShareCopy>> copy_sources(const Config& config) {
  std::vector<ShareCopy> shares;
  for (const Fs& fs : config.fs) {
    ShareCopy share;
    if (!fs.path.empty()) {
      FsMount base{.source = fs.path, .target = "", .readonly = fs.readonly, .readonly_below = fs.readonly};
      share.base = TRY_CONTEXT(copy_mount(base), "fs " + fs.tag);
    }
    for (FsMount mount : fs.mounts) {
      if (fs.readonly) mount.readonly = mount.readonly_below = true;
      Fd tree = mount.tree_fd >= 0 ? Fd(mount.tree_fd) : TRY_CONTEXT(copy_mount(mount), "fs " + fs.tag);
      share.mounts.emplace_back(std::move(tree), mount.target);
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

Result<void> assemble(const std::vector<ShareCopy>& shares) {
  for (size_t i = 0; i < shares.size(); i++) {
    std::string root = fmt::format("{}/fs/{}", kAssembly, i);
    TRY(make_parents(root + "/"));
    if (shares[i].base && ::move_mount(shares[i].base.get(), "", AT_FDCWD, root.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0) {
      return fail_errno("move_mount " + root);
    }
    Rootfs share(TRY(open_file(root, O_PATH | O_DIRECTORY)));
    for (const auto& [tree, target] : shares[i].mounts) TRY(attach(tree, share, target));
  }
  return {};
}

Result<void> switch_root() {
  if (::chdir(kAssembly) < 0) return fail_errno("chdir");
  if (::syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot_root");
  // The old root now lies on top of the new one; take it away.
  if (::umount2(".", MNT_DETACH) < 0) return fail_errno("umount the old root");
  if (::chdir("/") < 0) return fail_errno("chdir");
  mount_attr readonly{};
  readonly.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(AT_FDCWD, "/", 0, &readonly, sizeof(readonly)) < 0) return fail_errno("mount_setattr /");
  return {};
}

}  // namespace

Result<MountTree> enter_mount_tree(const Config& config) {
  if (::unshare(CLONE_NEWNS) < 0) return fail_errno("unshare the mount namespace");
  // Slave rather than private would let the host's later mounts in.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return fail_errno("make mounts private");
  MountTree tree;
  std::vector<ShareCopy> shares = TRY(copy_sources(config));
  if (!config.fs.empty()) tree.proc_self_fd = TRY(open_own_descriptors());
  std::string options = "mode=0755,size=1m";
  if (!config.jail.mount_label.empty()) options += "," + mount_context(config.jail.mount_label);
  if (::mount("nacre", kAssembly, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options.c_str()) < 0) {
    return fail_errno("mount the jail's root");
  }
  TRY(assemble(shares));
  TRY(switch_root());
  for (size_t i = 0; i < config.fs.size(); i++) {
    tree.fs_roots.push_back(TRY(open_file(fmt::format("/fs/{}", i), O_PATH | O_DIRECTORY)));
  }
  return tree;
}

}  // namespace nacre::vmm
