// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <string_view>

#include "base/mount.h"
#include "guest-init/child/child.h"
#include "oci/mount_options.h"

// Uses the new mount calls throughout: a mount is made and given its attributes while it is attached nowhere, and is
// then attached to a descriptor that was resolved inside the root. No path is looked up twice.

namespace nacre::guest {

namespace {

Result<void> set_attributes(int mount, uint64_t set, uint64_t clear, bool recursive) {
  if (set == 0 && clear == 0) return {};
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (::mount_setattr(mount, "", flags, &attributes, sizeof(attributes)) < 0) return fail_errno("mount_setattr");
  return {};
}

// Attaches a detached mount at a place that was resolved before.
Result<void> attach(int mount, int target) {
  if (::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("attach");
  }
  return {};
}

// Refuses mounts of `type` over /proc, unless it is a proc, and over parts of it, except the files that lxcfs replaces,
// as runc does since 1.2: /proc is to show what it should.
Result<void> check_not_in_proc(const Rootfs& root, int target, std::string_view type) {
  constexpr std::string_view kAllowed[] = {"/proc/cpuinfo",
                                           "/proc/diskstats",
                                           "/proc/meminfo",
                                           "/proc/stat",
                                           "/proc/swaps",
                                           "/proc/uptime",
                                           "/proc/loadavg",
                                           "/proc/slabinfo",
                                           "/proc/net/dev",
                                           "/proc/sys/kernel/ns_last_pid",
                                           "/proc/sys/crypto/fips_enabled"};
  std::string path = TRY(root.path_of(target));
  if (path == "/proc" && type == "proc") return {};
  if (path == "/proc") return fail("\"/proc\" cannot be mounted because it is not of type proc", EINVAL);
  if (!path.starts_with("/proc/") || std::ranges::find(kAllowed, path) != std::end(kAllowed)) return {};
  return fail("\"" + path + "\" cannot be mounted because it is inside /proc", EINVAL);
}

// Opens or makes the directory that a file system is to be mounted on. Refuses a /proc or /sys on anything but a
// directory: by a symbolic link the container could take something else for them.
Result<Fd> mount_point(const Rootfs& root, const MountSpec& mount) {
  bool of_kernel = mount.type == "proc" || mount.type == "sysfs";
  auto made = of_kernel ? root.make_plain_directory(mount.destination) : root.make_directory(mount.destination);
  struct stat status;
  bool is_link = !made && of_kernel && made.error().code() == ELOOP;
  if (is_link || (made && ::fstat(made->get(), &status) == 0 && !S_ISDIR(status.st_mode))) {
    return fail("filesystem \"" + mount.type + "\" must be mounted on ordinary directory", ENOTDIR);
  }
  Fd target = TRY_CONTEXT(std::move(made), "mount point");
  TRY(check_not_in_proc(root, target.get(), mount.type));
  return target;
}

// Maps the ids of a detached tree's files as the user namespace `ids` does.
Result<void> map_ids(const Fd& tree, const Fd& ids, const MountSpec& mount) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(ids.get());
  unsigned flags = AT_EMPTY_PATH | (mount.map_below ? AT_RECURSIVE : 0);
  if (::mount_setattr(tree.get(), "", flags, &attributes, sizeof(attributes)) < 0) return fail_errno("map ids");
  return {};
}

// Makes what a bind mount shows, detached. `given` is what guest-init has made of it already (ChildPlan::trees).
Result<Fd> bind_tree(const Rootfs& root, const MountSpec& mount, Fd given) {
  if (!mount.in_root) return given ? std::move(given) : clone_tree(AT_FDCWD, mount.source, mount.recursive);
  Fd source = TRY_CONTEXT(root.open(mount.source, O_PATH), "source");
  Fd tree = TRY(clone_tree(source.get(), "", mount.recursive));
  if (given) TRY(map_ids(tree, given, mount));
  return tree;
}

// Mounts a bind mount. `given` is as for bind_tree().
Result<void> mount_bind(const Rootfs& root, const MountSpec& mount, Fd given) {
  Fd tree = TRY(bind_tree(root, mount, std::move(given)));
  struct stat status;
  if (::fstat(tree.get(), &status) < 0) return fail_errno("source " + mount.source);
  TRY(set_attributes(tree.get(), mount.set, mount.clear, false));
  TRY(set_attributes(tree.get(), mount.deep_set, mount.deep_clear, true));
  Fd target =
      TRY_CONTEXT(S_ISDIR(status.st_mode) ? root.make_directory(mount.destination) : root.make_file(mount.destination),
                  "mount point");
  TRY(check_not_in_proc(root, target.get(), mount.type));
  TRY(attach(tree.get(), target.get()));
  for (uint64_t propagation : mount.propagation) {
    mount_attr attributes{};
    attributes.propagation = propagation & ~static_cast<uint64_t>(MS_REC);
    unsigned flags = AT_EMPTY_PATH | (propagation & MS_REC ? AT_RECURSIVE : 0);
    if (::mount_setattr(tree.get(), "", flags, &attributes, sizeof(attributes)) < 0) return fail_errno("propagation");
  }
  return {};
}

bool has_option(const MountSpec& mount, std::string_view prefix) {
  for (const std::string& option : mount.options) {
    if (option.starts_with(prefix)) return true;
  }
  return false;
}

// Returns the options of a tmpfs. If they have no mode it is that of the directory which the tmpfs covers; as under
// runc it is an option, which shows among those of the mount.
Result<std::vector<std::string>> tmpfs_options(const MountSpec& mount, int covered) {
  std::vector<std::string> options = mount.options;
  struct stat status;
  if (has_option(mount, "mode=")) return options;
  if (::fstat(covered, &status) < 0) return fail_errno("stat");
  std::array<char, 16> mode;
  std::snprintf(mode.data(), mode.size(), "mode=%o", status.st_mode & 07777);
  options.emplace_back(mode.data());
  return options;
}

// Clones the machine's mount of a file system that cannot be mounted anew; returns an invalid descriptor if there is
// none. Root of a user namespace without a cgroup or network namespace of its own may not mount what shows them. It
// gets the machine's mount, as under runc it gets the host's cgroups, or binds the host's /sys.
Fd bind_of_machine(std::string_view type) {
  auto tree = type == "cgroup2" ? clone_tree(AT_FDCWD, "/sys/fs/cgroup", false)
              : type == "sysfs" ? clone_tree(AT_FDCWD, "/sys", true)
                                : Result<Fd>(Fd());
  return tree ? std::move(*tree) : Fd();
}

// Covers the cgroups below the machine's /sys, which are those of all containers: a mount that came along cannot be
// taken off. The configuration may mount the container's cgroup there.
Result<void> cover_cgroups(int sysfs) {
  Fd place = TRY(open_at(sysfs, "fs/cgroup", O_PATH | O_DIRECTORY));
  Fd cover = TRY(make_filesystem("tmpfs", "tmpfs", {"ro", "mode=555"}, MOUNT_ATTR_RDONLY));
  return attach(cover.get(), place.get());
}

// Mounts an entry of the configuration. Returns the mount if it must become read-only later: mount points and devices
// are still to be made on a tmpfs. `shared` is the tree to mount if the file system is not the container's own.
Result<Fd> mount_filesystem(const Rootfs& root, const MountSpec& mount, Fd shared) {
  bool existed = root.open(mount.destination, O_PATH | O_DIRECTORY).has_value();
  Fd target = TRY(mount_point(root, mount));
  uint64_t attributes = (mount.set | mount.deep_set) & ~(mount.clear & MOUNT_ATTR_RDONLY);
  bool late = false;
  if (mount.type == "tmpfs") {
    late = attributes & MOUNT_ATTR_RDONLY;
    attributes &= ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY);
  }
  bool covers_cgroups = false;
  Result<Fd> filesystem = Fd();
  if (shared) {
    TRY(set_attributes(shared.get(), attributes, 0, false));
    filesystem = std::move(shared);
    existed = false;  // its first user has decided how it looks
  } else {
    auto options = mount.type == "tmpfs" && existed ? TRY(tmpfs_options(mount, target.get())) : mount.options;
    filesystem = make_filesystem(mount.type, mount.source, options, attributes);
  }
  if (!filesystem && filesystem.error().code() == EPERM) {
    if (Fd tree = bind_of_machine(mount.type)) {
      TRY(set_attributes(tree.get(), attributes, mount.clear & MOUNT_ATTR__ATIME, true));
      covers_cgroups = mount.type == "sysfs";
      filesystem = std::move(tree);
    }
  }
  Fd made = TRY(std::move(filesystem));
  if (mount.copy_up && existed) TRY_CONTEXT(copy_directory(target.get(), made.get()), oci::kCopyUpOption);
  TRY(attach(made.get(), target.get()));
  if (covers_cgroups) TRY(cover_cgroups(made.get()));
  for (uint64_t propagation : mount.propagation) {
    mount_attr change{};
    change.propagation = propagation & ~static_cast<uint64_t>(MS_REC);
    if (::mount_setattr(made.get(), "", AT_EMPTY_PATH, &change, sizeof(change)) < 0) return fail_errno("propagation");
  }
  if (!late) made.reset();
  return made;
}

// Makes what hides directories: one empty file system for all of them, as under runc.
class DirectoryCover {
 public:
  Result<Fd> another() {
    if (first_) return clone_tree(first_.get(), "", false);
    Fd made = TRY(make_filesystem("tmpfs", "tmpfs", {"ro"}, MOUNT_ATTR_RDONLY));
    first_ = TRY(made.dup());
    return made;
  }

 private:
  Fd first_;
};

// As in runc 1.5: below /proc and /sys a path is the thing itself, not a link to it, which another process might turn.
Result<void> check_not_through_link(const Rootfs& root, const std::string& path, int target) {
  std::string written = clean_path(path);
  if (!written.starts_with("/proc/") && !written.starts_with("/sys/")) return {};
  if (TRY(root.path_of(target)) == written) return {};
  return fail("a symbolic link is on the way", ELOOP);
}

Result<void> mask_path(const Rootfs& root, const std::string& path, DirectoryCover& directories) {
  auto target = root.open(path, O_PATH);
  if (!target && target.error().code() == ENOENT) return {};  // nothing there to be hidden
  if (!target) return std::unexpected(target.error());
  TRY(check_not_through_link(root, path, target->get()));
  struct stat status;
  if (::fstat(target->get(), &status) < 0) return fail_errno("stat");
  Fd cover = S_ISDIR(status.st_mode) ? TRY(directories.another()) : TRY(clone_tree(AT_FDCWD, "/dev/null", false));
  return attach(cover.get(), target->get());
}

Result<void> mask_paths(const Rootfs& root, const std::vector<std::string>& paths) {
  DirectoryCover directories;
  std::set<std::string> masked;
  for (const std::string& path : paths) {
    if (masked.insert(clean_path(path)).second) TRY_CONTEXT(mask_path(root, path, directories), "mask " + path);
  }
  return {};
}

Result<void> make_path_readonly(const Rootfs& root, const std::string& path) {
  auto target = root.open(path, O_PATH);
  if (!target && target.error().code() == ENOENT) return {};
  if (!target) return std::unexpected(target.error());
  TRY(check_not_through_link(root, path, target->get()));
  Fd tree = TRY(clone_tree(target->get(), "", true));
  // As under runc, what the configuration mounts below it stays as the configuration says.
  TRY(set_attributes(tree.get(), MOUNT_ATTR_RDONLY, 0, false));
  return attach(tree.get(), target->get());
}

Result<void> enter_root(const Rootfs& root, const ContainerSpec& spec) {
  if (::fchdir(root.fd()) < 0) return fail_errno("chdir to root file system");
  // The old root lands on top of the new one and is taken away from there: no directory is needed for it.
  if (::syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("pivot_root");
  if (::umount2(".", MNT_DETACH) < 0) return fail_errno("unmount old root");
  if (::chdir("/") < 0) return fail_errno("chdir /");
  if (spec.root_propagation != 0 && ::mount(nullptr, "/", nullptr, spec.root_propagation, nullptr) < 0) {
    return fail_errno("set linux.rootfsPropagation");
  }
  if (spec.root_readonly) TRY_CONTEXT(set_attributes(root.fd(), MOUNT_ATTR_RDONLY, 0, false), "make / read-only");
  return {};
}

// Takes the sources of bind mounts before "/" is cut off from the machine's mounts. If the root is to be shared, binds
// are, as under runc, in the peer group of what they show, so that mounts come and go both ways.
Result<std::vector<Fd>> take_shared_binds(const ContainerSpec& spec) {
  std::vector<Fd> trees(spec.mounts.size());
  if (!(spec.root_propagation & MS_SHARED)) return trees;
  for (size_t i = 0; i < trees.size(); i++) {
    const MountSpec& mount = spec.mounts[i];
    if (mount.type != "bind" || mount.in_root) continue;
    trees[i] = TRY_CONTEXT(clone_tree(AT_FDCWD, mount.source, mount.recursive), "mount " + mount.source);
  }
  return trees;
}

Result<Rootfs> mount_root(const ContainerSpec& spec) {
  // What follows must not show outside. As under runc, mounts have the machine's as their master, unless the caller
  // wants otherwise for one of them, or for the root once that is the container's: only "shared" asks for more.
  unsigned long before = spec.root_propagation & MS_SHARED ? MS_PRIVATE : MS_SLAVE;
  if (::mount(nullptr, "/", nullptr, MS_REC | before, nullptr) < 0) return fail_errno("cut / off from the machine's");
  Fd tree = TRY_CONTEXT(clone_tree(AT_FDCWD, spec.root_path.c_str(), true), "root file system");
  Fd target = TRY_CONTEXT(open_file(spec.root_path, O_PATH | O_DIRECTORY), "root file system");
  TRY_CONTEXT(attach(tree.get(), target.get()), "root file system");
  return Rootfs(std::move(tree));
}

}  // namespace

Result<Fd> make_mapped_tree(const MountSpec& mount) {
  Fd ids = TRY(make_user_namespace(*mount.ids));
  if (mount.in_root) return ids;
  Fd tree = TRY(clone_tree(AT_FDCWD, mount.source.c_str(), mount.recursive));
  TRY(map_ids(tree, ids, mount));
  return tree;
}

Result<std::optional<Terminal>> build_root(const ContainerSpec& spec, const ChildPlan& plan) {
  ::umask(0);
  std::vector<Fd> shared_binds = TRY(take_shared_binds(spec));
  Rootfs root = TRY(mount_root(spec));
  std::vector<Fd> readonly_later;
  bool own_dev = true;
  for (size_t i = 0; i < spec.mounts.size(); i++) {
    const MountSpec& mount = spec.mounts[i];
    Fd tree(i < plan.trees.size() ? plan.trees[i] : -1);
    if (!tree) tree = std::move(shared_binds[i]);
    std::string step = "mount " + (mount.type == "bind" ? mount.source : mount.type) + " on " + mount.destination;
    if (mount.type == "bind") {
      TRY_CONTEXT(mount_bind(root, mount, std::move(tree)), step);
      if (clean_path(mount.destination) == "/dev") own_dev = false;
    } else {
      Fd later = TRY_CONTEXT(mount_filesystem(root, mount, std::move(tree)), step);
      if (later) readonly_later.push_back(std::move(later));
    }
  }
  if (own_dev) TRY(make_devices(root, spec.devices, plan.nodes));
  TRY_CONTEXT(root.make_directory(spec.process.cwd), "make cwd");
  std::optional<Terminal> terminal;
  if (const auto& wanted = spec.process.terminal) {
    terminal = TRY_CONTEXT(open_terminal(root, *wanted, spec.process.uid), "terminal");
    TRY_CONTEXT(bind_console(root, *terminal), "/dev/console");
  }
  for (const Fd& mount : readonly_later) TRY(set_attributes(mount.get(), MOUNT_ATTR_RDONLY, 0, false));
  for (const std::string& path : spec.readonly_paths) {
    TRY_CONTEXT(make_path_readonly(root, path), "make " + path + " read-only");
  }
  TRY(mask_paths(root, spec.masked_paths));
  TRY(enter_root(root, spec));
  return terminal;
}

}  // namespace nacre::guest
