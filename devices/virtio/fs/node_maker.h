// Who makes device nodes for a server that may not: mknod(2) of one takes CAP_MKNOD over the whole host.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "devices/virtio/fs/errno_result.h"

namespace nacre::virtio::fs {

struct DeviceNode {
  mode_t mode;  // S_IFCHR or S_IFBLK, and permissions, from which `umask` is taken
  dev_t device;
  uint32_t uid, gid;  // whose it will be
  mode_t umask;
};

// From any thread.
class NodeMaker {
 public:
  virtual ~NodeMaker() = default;
  // `name`: one component, in the directory that is open as `parent` (O_PATH will do). Errors are those of mknodat(2).
  virtual OrErrno<void> make(int parent, const char* name, const DeviceNode& node) = 0;
};

}  // namespace nacre::virtio::fs
