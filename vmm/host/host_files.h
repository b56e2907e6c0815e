// SPDX-License-Identifier: Apache-2.0
// What a machine uses of the host, opened before vmm locks itself in.
#pragma once

#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/fs/node_maker.h"
#include "devices/virtio/net/tap.h"
#include "vmm/api/config.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm {

// What a network device is made of.
struct HostNet {
  std::unique_ptr<virtio::net::Tap> tap;
  MacAddress mac;
};

struct HostFiles {
  Kvm kvm;
  Fd kernel;
  Fd initrd;                      // invalid: none
  Fd memory;                      // what lies behind the guest's memory; invalid: anonymous memory
  std::vector<HostNet> nets;      // in the order of config.net
  Fd vsock_listener;              // invalid: none
  std::vector<Fd> vsock_streams;  // in the order of config.vsock->streams
  Fd lifeline;                    // invalid: none
  Fd control;                     // listens; invalid: none

  // One O_PATH descriptor per config.fs, and one of /proc/self/fd through which the file server re-opens files. With
  // the jail, enter_jail() opens these within the new tree.
  std::vector<Fd> fs_roots;
  Fd proc_self_fd;
  std::unique_ptr<virtio::fs::NodeMaker> node_maker;  // of the jail; null: the file servers make nodes, if they may
};

// Opens everything but what the jail opens. Errors are for the user and name the file. Takes over inherited
// descriptors, and makes them close-on-exec.
Result<HostFiles> open_host_files(const Config& config);

}  // namespace nacre::vmm
