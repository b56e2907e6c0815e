// SPDX-License-Identifier: Apache-2.0
// A tap of the host as a virtio-net device's network (Linux: Documentation/networking/tuntap.rst).
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "devices/virtio/net/backend.h"

namespace nacre::virtio::net {

class Tap final : public Backend {
 public:
  // Opens a tap that exists. An error says what is wrong with the tap of that name.
  static Result<std::unique_ptr<Tap>> open(const std::string& name);
  // Takes over a descriptor of /dev/net/tun that is attached to a tap with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR.
  static Result<std::unique_ptr<Tap>> adopt(Fd fd);

  int fd() const override { return fd_.get(); }
  uint64_t offloads() const override { return offloads_; }
  // The only ioctl after the tap was made: TUNSETOFFLOAD with bits of kOffloadBits.
  Result<void> accept(uint64_t features) override;
  static constexpr unsigned kOffloadBits = 0x6f;

 private:
  explicit Tap(Fd fd) : fd_(std::move(fd)) {}
  Result<void> set_up();

  const Fd fd_;
  uint64_t offloads_ = 0;
};

}  // namespace nacre::virtio::net
