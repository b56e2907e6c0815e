// SPDX-License-Identifier: Apache-2.0
// Where the frames of a virtio-net device go to and come from.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace nacre::virtio::net {

// Called on the thread of the device's loop.
class Backend {
 public:
  virtual ~Backend() = default;

  // A non-blocking descriptor that stays the same. A read takes one frame and a write gives one, with a Header (wire.h)
  // before it. A descriptor that reports EPOLLERR or EPOLLHUP has lost its network for good.
  virtual int fd() const = 0;

  // Returns the features CSUM, HOST_... and GUEST_... that the backend can do. Never changes.
  virtual uint64_t offloads() const = 0;

  // Tells the backend which features the driver has accepted. From now on a read gives no frame that takes others;
  // frames that wait already may.
  virtual Result<void> accept(uint64_t features) = 0;
};

}  // namespace nacre::virtio::net
