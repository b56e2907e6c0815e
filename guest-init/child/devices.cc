// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest-init/child/child.h"
#include "oci/default_devices.h"

namespace nacre::guest {

namespace {

// Returns the machine's own node for a device, for example "/dev/null" for c 1:3.
Result<std::string> guest_node(const DeviceSpec& device) {
  std::string number = std::to_string(device.major) + ":" + std::to_string(device.minor);
  const char* kind = device.type == S_IFBLK ? "block" : "char";
  auto text = read_file(std::string("/sys/dev/") + kind + "/" + number + "/uevent");
  size_t at = text ? text->find("DEVNAME=") : std::string::npos;
  if (at == std::string::npos) return fail(std::string("no ") + kind + " device " + number + " in the machine", ENODEV);
  at += sizeof("DEVNAME=") - 1;
  return "/dev/" + text->substr(at, text->find('\n', at) - at);
}

Result<Fd> clone_node(const std::string& path) {
  Fd tree(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return fail_errno("bind " + path);
  return tree;
}

Result<void> bind_device(const Rootfs& root, const DeviceSpec& device, const Fd& tree) {
  Fd target = TRY(root.make_file(device.path));
  if (::move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("attach");
  }
  return {};
}

// Returns true for an empty file: the host puts one in place of each device on a root that is read-only in the guest,
// and it stays there when the root is used again.
bool is_empty_file(int directory, const std::string& name) {
  struct stat info;
  return ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
         info.st_size == 0;
}

// Makes a device. `node` is mounted in its place if it cannot be made.
Result<void> make_device(const Rootfs& root, const DeviceSpec& device, Fd node) {
  Fd directory = TRY(root.make_directory(parent_path(device.path)));
  std::string name = base_name(device.path);
  dev_t number = makedev(device.major, device.minor);
  if (::mknodat(directory.get(), name.c_str(), device.type | device.mode, number) < 0) {
    bool exists = errno == EEXIST;
    if (!exists && errno != EPERM) return fail_errno("mknod");
    // The image has the device, or it was named twice.
    if (exists && !is_empty_file(directory.get(), name)) return {};
    // The machine has the default devices.
    if (!node) node = TRY(clone_node(TRY(guest_node(device))));
    return bind_device(root, device, node);
  }
  if ((device.uid != 0 || device.gid != 0) &&
      ::fchownat(directory.get(), name.c_str(), device.uid, device.gid, AT_SYMLINK_NOFOLLOW) < 0) {
    return fail_errno("chown");
  }
  return {};
}

Result<void> make_links(const Rootfs& root) {
  Fd dev = TRY(root.make_directory("/dev"));
  // Leads to the container's own devpts, whatever the image has there. If the root is read-only, the host has seen to
  // it.
  if (::unlinkat(dev.get(), "ptmx", 0) < 0 && errno != ENOENT && errno != EROFS) {
    return fail_errno("remove /dev/ptmx of the image");
  }
  for (const auto& link : oci::kDefaultLinks) {
    if (link.name == std::string_view("core") && ::access(link.target, F_OK) < 0) continue;
    if (::symlinkat(link.target, dev.get(), link.name) < 0 && errno != EEXIST) {
      return fail_errno(std::string("link /dev/") + link.name);
    }
  }
  return {};
}

}  // namespace

Result<void> make_devices(const Rootfs& root, const std::vector<DeviceSpec>& devices, const std::vector<int>& nodes) {
  // The caller's devices come first: it may want another mode or owner for a standard one.
  for (size_t i = 0; i < devices.size(); i++) {
    TRY_CONTEXT(make_device(root, devices[i], Fd(i < nodes.size() ? nodes[i] : -1)), "device " + devices[i].path);
  }
  for (const auto& standard : oci::kDefaultDevices) {
    DeviceSpec device{.path = standard.path, .type = S_IFCHR, .major = standard.major, .minor = standard.minor};
    TRY_CONTEXT(make_device(root, device, Fd()), "device " + device.path);
  }
  return make_links(root);
}

}  // namespace nacre::guest
