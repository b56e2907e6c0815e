// Everything of the host that a machine uses, opened before vmm locks itself in.
#pragma once

#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/fs/node_maker.h"
#include "vmm/api/config.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm {

struct HostFiles {
  Kvm kvm;
  Fd kernel;
  Fd initrd;                      // invalid: none
  Fd vsock_listener;              // invalid: none
  std::vector<Fd> vsock_streams;  // in the order of config.vsock->streams
  Fd lifeline;                    // invalid: none
  Fd control;                     // listens; invalid: none

  // One O_PATH descriptor per config.fs, and one of /proc/self/fd through which the file server re-opens files. Without
  // the jail these are opened here, with it by enter_jail(), within the new tree.
  std::vector<Fd> fs_roots;
  Fd proc_self_fd;
  std::unique_ptr<virtio::fs::NodeMaker> node_maker;  // of the jail; none: the file servers make nodes, if they may
};

// Errors are in words for the user and name the file. Inherited descriptors are taken over (close-on-exec).
Result<HostFiles> open_host_files(const Config& config);

}  // namespace nacre::vmm
