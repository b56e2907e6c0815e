// SPDX-License-Identifier: Apache-2.0
// Says what a share lets its guest do, and how long the guest may rely on what it was told.
#pragma once

#include <chrono>

#include "devices/virtio/fs/node_maker.h"

namespace nacre::virtio::fs {

struct SessionOptions {
  bool readonly = false;
  // How long the guest relies on a name, on the attributes of a file, and on the absence of a name, without asking
  // again. If the host changes something, the guest sees the change after that time at the latest.
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds attr_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds negative_timeout = std::chrono::seconds(1);
  // If true, file locks are taken on the host's files, so the host and other guests see them. A process of the guest
  // that waits for such a lock cannot be killed until it gets the lock (Linux's virtio-fs sends no INTERRUPT), and
  // deadlocks are not detected.
  //
  // If false, the guest's kernel keeps its locks to itself. That is faster, and a waiting process can be killed, but it
  // only suits a directory in which nobody else locks files.
  bool host_locks = true;
  // Offers POSIX access lists (ACLs), which the guest's kernel reads and enforces.
  bool posix_acl = true;
  // A descriptor of this process's /proc/self/fd, opened before /proc went away. The session does not own the
  // descriptor, which must stay open as long as the session lives.
  int proc_self_fd = -1;
  // Makes the guest's device nodes. Must live as long as the session. If null, the session calls mknod(2) itself, which
  // takes CAP_MKNOD.
  NodeMaker* node_maker = nullptr;
};

}  // namespace nacre::virtio::fs
