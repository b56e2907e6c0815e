// What a share lets its guest do, and for how long the guest may believe what it was told.
#pragma once

#include <chrono>

#include "devices/virtio/fs/node_maker.h"

namespace nacre::virtio::fs {

struct SessionOptions {
  bool readonly = false;
  // How long the guest believes a name, the attributes of a file, and that a name does not exist, without asking again.
  // The guest sees a change that the host makes after that time at the latest.
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds attr_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds negative_timeout = std::chrono::seconds(1);
  // True: file locks are taken on the host's files, and the host and other guests see them. A process of the guest that
  // waits for such a lock cannot be killed until it gets the lock (Linux's virtio-fs sends no INTERRUPT), and deadlocks
  // are not detected. False: the guest's kernel keeps its locks to itself, which is faster, and a waiting process can
  // be killed; for a directory in which nobody else locks files.
  bool host_locks = true;
  // POSIX access lists: the guest's kernel reads and enforces them.
  bool posix_acl = true;
  // A descriptor of this process's /proc/self/fd, opened before /proc went away. Not owned: it must stay open as long
  // as the session lives.
  int proc_self_fd = -1;
  // Makes the guest's device nodes, for as long as the session lives. Null: mknod(2) does, which takes CAP_MKNOD.
  NodeMaker* node_maker = nullptr;
};

}  // namespace nacre::virtio::fs
