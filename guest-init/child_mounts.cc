#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/log.h"
#include "guest-init/child.h"

// The new mount calls throughout: a mount is made and given its attributes while it is attached nowhere, and then
// attached to a descriptor that was resolved inside the root. No path is looked up twice.

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

// A detached copy of what is mounted at a path.
Result<Fd> clone_tree(int directory, const char* path, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);
  int fd = ::open_tree(directory, path, flags);
  if (fd < 0) return fail_errno(std::string("bind ") + path);
  return Fd(fd);
}

Result<void> attach(int mount, int target) {
  if (::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("attach");
  }
  return {};
}

// What the file system says about an option that it does not like, e.g. "tmpfs: Bad value for 'size'"; or errno.
std::unexpected<Error> context_error(int context, const std::string& step) {
  int code = errno;
  std::array<char, 512> text;
  ssize_t n = ::read(context, text.data(), text.size() - 1);
  if (n > 2 && text[1] == ' ') {
    std::string line(text.data() + 2, static_cast<size_t>(n) - 2);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    return fail(step + ": " + line, code);
  }
  return fail_errno(step, code);
}

Result<Fd> make_filesystem(const std::string& type, const std::string& source, const std::vector<std::string>& options,
                           uint64_t attributes) {
  Fd context(::fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return fail_errno("file system " + type);
  if (!source.empty() && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) < 0) {
    return context_error(context.get(), "source " + source);
  }
  for (const std::string& option : options) {
    size_t equals = option.find('=');
    int result = equals == std::string::npos
                     ? ::fsconfig(context.get(), FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
                     : ::fsconfig(context.get(), FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                                  option.c_str() + equals + 1, 0);
    if (result < 0) return context_error(context.get(), "option " + option);
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    return context_error(context.get(), "create");
  }
  Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return context_error(context.get(), "fsmount");
  return mount;
}

Result<void> mount_bind(const Rootfs& root, const MountSpec& mount) {
  struct stat status;
  if (::stat(mount.source.c_str(), &status) < 0) return fail_errno("source " + mount.source);
  Fd tree = TRY(clone_tree(AT_FDCWD, mount.source.c_str(), mount.recursive));
  TRY(set_attributes(tree.get(), mount.set, mount.clear, false));
  TRY(set_attributes(tree.get(), mount.deep_set, mount.deep_clear, true));
  Fd target =
      TRY_CONTEXT(S_ISDIR(status.st_mode) ? root.make_directory(mount.destination) : root.make_file(mount.destination),
                  "mount point");
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

// Gives the mount if it must become read-only later: mount points and devices are still to be made on a tmpfs.
Result<Fd> mount_filesystem(const Rootfs& root, const MountSpec& mount) {
  bool existed = root.open(mount.destination, O_PATH | O_DIRECTORY).has_value();
  Fd target = TRY_CONTEXT(root.make_directory(mount.destination), "mount point");
  std::vector<std::string> options = mount.options;
  uint64_t attributes = (mount.set | mount.deep_set) & ~(mount.clear & MOUNT_ATTR_RDONLY);
  bool late = false;
  if (mount.type == "tmpfs") {
    struct stat status;
    if (existed && !has_option(mount, "mode=") && ::fstat(target.get(), &status) == 0) {
      // The directory keeps the mode that the image gave it.
      std::array<char, 16> mode;
      std::snprintf(mode.data(), mode.size(), "mode=%o", status.st_mode & 07777);
      options.emplace_back(mode.data());
    }
    late = attributes & MOUNT_ATTR_RDONLY;
    attributes &= ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY);
  }
  Fd made = TRY(make_filesystem(mount.type, mount.source, options, attributes));
  TRY(attach(made.get(), target.get()));
  for (uint64_t propagation : mount.propagation) {
    mount_attr change{};
    change.propagation = propagation & ~static_cast<uint64_t>(MS_REC);
    if (::mount_setattr(made.get(), "", AT_EMPTY_PATH, &change, sizeof(change)) < 0) return fail_errno("propagation");
  }
  if (!late) made.reset();
  return made;
}

Result<void> mask_path(const Rootfs& root, const std::string& path) {
  auto target = root.open(path, O_PATH);
  if (!target) return {};  // nothing there to be hidden
  struct stat status;
  if (::fstat(target->get(), &status) < 0) return fail_errno("stat");
  Fd cover = S_ISDIR(status.st_mode)
                 ? TRY(make_filesystem("tmpfs", "tmpfs", {"size=4k", "mode=755"}, MOUNT_ATTR_RDONLY))
                 : TRY(clone_tree(AT_FDCWD, "/dev/null", false));
  return attach(cover.get(), target->get());
}

Result<void> make_path_readonly(const Rootfs& root, const std::string& path) {
  auto target = root.open(path, O_PATH);
  if (!target) return {};
  Fd tree = TRY(clone_tree(target->get(), "", true));
  TRY(set_attributes(tree.get(), MOUNT_ATTR_RDONLY, 0, true));
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

Result<Rootfs> mount_root(const ContainerSpec& spec) {
  // Nothing of what follows may show outside; the caller's own choice comes once the root is the container's.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return fail_errno("make / private");
  Fd tree = TRY_CONTEXT(clone_tree(AT_FDCWD, spec.root_path.c_str(), true), "root file system");
  Fd target = TRY_CONTEXT(open_file(spec.root_path, O_PATH | O_DIRECTORY), "root file system");
  TRY_CONTEXT(attach(tree.get(), target.get()), "root file system");
  return Rootfs(std::move(tree));
}

}  // namespace

Result<std::optional<Terminal>> build_root(const ContainerSpec& spec) {
  ::umask(0);
  Rootfs root = TRY(mount_root(spec));
  std::vector<Fd> readonly_later;
  bool own_dev = true;
  for (const MountSpec& mount : spec.mounts) {
    std::string step = "mount " + (mount.type == "bind" ? mount.source : mount.type) + " on " + mount.destination;
    if (mount.type == "bind") {
      TRY_CONTEXT(mount_bind(root, mount), step);
      if (mount.destination == "/dev") own_dev = false;
    } else {
      Fd later = TRY_CONTEXT(mount_filesystem(root, mount), step);
      if (later) readonly_later.push_back(std::move(later));
    }
  }
  if (own_dev) TRY(make_devices(root, spec.devices));
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
  for (const std::string& path : spec.masked_paths) TRY_CONTEXT(mask_path(root, path), "mask " + path);
  TRY(enter_root(root, spec));
  return terminal;
}

}  // namespace nacre::guest
