// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/device_node.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vector>

namespace nacre::guest {

namespace {

uint32_t id_outside(const std::vector<IdRange>& ranges, uint32_t id) {
  return ranges.empty() ? id : outside_id(ranges, id).value_or(id);
}

std::string unused_path() {
  static unsigned count = 0;
  return "/dev/.node-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
}

}  // namespace

Result<DeviceNode> DeviceNode::make(const DeviceSpec& device, const IdMappings& ids) {
  DeviceNode node(unused_path());
  const char* path = node.path_.c_str();
  if (::mknod(path, device.type, makedev(device.major, device.minor)) < 0) return fail_errno("mknod");
  if (::chown(path, id_outside(ids.uids, device.uid), id_outside(ids.gids, device.gid)) < 0) return fail_errno("chown");
  if (::chmod(path, device.mode) < 0) return fail_errno("chmod");
  node.tree_ = Fd(::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!node.tree_) return fail_errno("mount its node");
  return node;
}

DeviceNode::~DeviceNode() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace nacre::guest
