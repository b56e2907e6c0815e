// The process that makes device nodes for a jailed vmm: it has CAP_MKNOD over the host, which vmm has not, and nothing
// else to work with. It takes requests from a vmm that a guest may have taken over: it makes character and block
// devices only, under a name of one component, in a directory that comes as a descriptor. Whether that is writable is a
// property of its mount, which must be one that lets vmm open no device.
#pragma once

#include <mutex>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/fs/node_maker.h"

namespace nacre::vmm {

// vmm's end. `socket`: SOCK_SEQPACKET.
class NodeMakerClient final : public virtio::fs::NodeMaker {
 public:
  explicit NodeMakerClient(Fd socket) : socket_(std::move(socket)) {}
  // EIO where the process is gone.
  virtio::fs::OrErrno<void> make(int parent, const char* name, const virtio::fs::DeviceNode& node) override;

 private:
  std::mutex mutex_;
  Fd socket_;
};

// Serves until the other end is closed. The calling thread's umask and current directory become its own (`directory`,
// whatever it is), and its capabilities those that this takes.
Result<void> serve_node_requests(const Fd& socket, const Fd& directory);

}  // namespace nacre::vmm
