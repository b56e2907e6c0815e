// SPDX-License-Identifier: Apache-2.0
// Makes device nodes for a server that may not make them itself: mknod(2) of a device takes CAP_MKNOD over the whole
// host.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "devices/virtio/fs/errno_result.h"

namespace nacre::virtio::fs {

struct DeviceNode {
  mode_t mode;  // S_IFCHR or S_IFBLK, and permissions, to which `umask` still applies
  dev_t device;
  uint32_t uid, gid;  // the owner of the node
  mode_t umask;
};

// Any thread may call make().
class NodeMaker {
 public:
  virtual ~NodeMaker() = default;
  // Makes a node in the directory that is open as `parent` (O_PATH is enough). `name` is one component. Errors are
  // those of mknodat(2).
  virtual OrErrno<void> make(int parent, const char* name, const DeviceNode& node) = 0;
};

}  // namespace nacre::virtio::fs
