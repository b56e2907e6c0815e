// SPDX-License-Identifier: Apache-2.0
// Takes frames from the driver and gives them to the backend.
#pragma once

#include <optional>
#include <vector>

#include <sys/uio.h>

#include "base/log.h"
#include "devices/virtio/net/backend.h"
#include "devices/virtio/net/counters.h"
#include "devices/virtio/queue.h"

namespace nacre::virtio::net {

class Transmitter {
 public:
  // All must outlive the transmitter. `features` are those that the driver has accepted.
  Transmitter(Queue& queue, Backend& backend, uint64_t features, Counters& counters)
      : queue_(queue), backend_(backend), features_(features), counters_(counters) {}

  // Sends up to `budget` frames. Returns whether there may be more. If not, the driver has been asked to notify us of
  // the next, unless the backend has no room (is_blocked()). An error: the driver broke the rules of the queue.
  Result<bool> transmit(size_t budget);

  // A frame waits for room in the backend.
  bool is_blocked() const { return blocked_.has_value(); }
  // Lets transmit() try again.
  void unblock() { try_again_ = true; }

  // Returns the frame that waits, by the head of its chain.
  std::optional<uint16_t> held() const { return blocked_ ? std::optional(blocked_->head) : std::nullopt; }
  // Takes that frame again, in a queue whose only chain in flight it is.
  Result<void> hold_again(std::optional<uint16_t> head);

 private:
  Result<std::optional<Chain>> next();
  // Sends a frame or drops it. Returns false, and keeps the chain, if the backend has no room.
  bool send(Chain& chain);

  Queue& queue_;
  Backend& backend_;
  const uint64_t features_;
  Counters& counters_;
  std::optional<Chain> blocked_;
  bool try_again_ = false;
  bool notifications_ = false;  // asked for at the queue's present place
  std::vector<iovec> parts_;    // of one frame; kept to save allocations
};

}  // namespace nacre::virtio::net
