// SPDX-License-Identifier: Apache-2.0
// How the host reaches guest-init: vsock in a machine, unix sockets in tests.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre::guest {

class Transport {
 public:
  struct Listener {
    Fd fd;  // non-blocking
    uint32_t port = 0;
  };

  virtual ~Transport() = default;
  // Listens on a port; 0 is any that is free.
  virtual Result<Listener> listen(uint32_t port) = 0;
  // Takes a connection from the host, non-blocking. Returns an invalid descriptor if nobody, or somebody else, has
  // connected.
  virtual Fd accept(const Listener& listener) = 0;
};

class VsockTransport : public Transport {
 public:
  Result<Listener> listen(uint32_t port) override;
  Fd accept(const Listener& listener) override;
  // Blocks.
  static Result<Fd> connect_to_host(uint32_t port);
};

// Port N is DIRECTORY/N.
class UnixTransport : public Transport {
 public:
  explicit UnixTransport(std::string directory) : directory_(std::move(directory)) {}
  Result<Listener> listen(uint32_t port) override;
  Fd accept(const Listener& listener) override;

 private:
  std::string directory_;
  uint32_t next_port_ = 49152;
};

}  // namespace nacre::guest
