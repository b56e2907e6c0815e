// SPDX-License-Identifier: Apache-2.0
// The process that makes device nodes for a jailed vmm. It has CAP_MKNOD over the host, which vmm does not have, and
// nothing else to work with. A guest may have taken over the vmm that sends the requests. So the process makes
// character and block devices only, under a name of one component, in a directory that comes as a descriptor. The
// directory's mount decides whether it is writable, and must be one on which vmm can open no device.
#pragma once

#include "base/fd.h"
#include "base/loop_thread.h"
#include "base/mutex.h"
#include "base/result.h"
#include "devices/virtio/fs/node_maker.h"

namespace nacre::vmm {

// Sends requests from vmm, over a SOCK_SEQPACKET socket.
class NodeMakerClient final : public virtio::fs::NodeMaker {
 public:
  explicit NodeMakerClient(Fd socket) : socket_(std::move(socket)) {}
  // Fails with EIO if the process is gone.
  virtio::fs::OrErrno<void> make(int parent, const char* name, const virtio::fs::DeviceNode& node) override;

 private:
  Mutex mutex_;  // a request and its answer belong together
  const Fd socket_;
};

// Serves until the other end is closed. The calling thread gets a umask and a current directory of its own
// (`directory`, whatever that is), and keeps only the capabilities that this takes. It calls `start`, if there is one,
// before it reads the first request.
Result<void> serve_node_requests(const Fd& socket, const Fd& directory, const ThreadStart& start = {});

}  // namespace nacre::vmm
