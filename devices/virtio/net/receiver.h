// SPDX-License-Identifier: Apache-2.0
// Takes frames from the backend and gives them to the driver.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "devices/virtio/net/backend.h"
#include "devices/virtio/net/counters.h"
#include "devices/virtio/net/rx_buffers.h"

namespace nacre::virtio::net {

class Receiver {
 public:
  // Why receive() has come to an end.
  enum class Outcome {
    budget,   // there may be more frames
    drained,  // the backend has no frame
    starved,  // the driver has no buffers; it was asked to notify us of some
    lost,     // the backend can give no frames any more
  };

  // All must outlive the receiver. `features` are those that the driver has accepted.
  Receiver(Queue& queue, Backend& backend, uint64_t features, Counters& counters);

  // Delivers up to `budget` frames. An error: the driver broke the rules of the queue.
  Result<Outcome> receive(size_t budget);
  // A frame that was taken from the backend waits for more buffers.
  bool is_waiting() const { return waiting_.has_value(); }

  // The buffers that are taken from the queue, and their restoration. A frame that waits is lost.
  std::vector<uint16_t> held() const { return buffers_.held(); }
  Result<void> hold_again(std::span<const uint16_t> heads) { return buffers_.hold_again(heads); }

 private:
  // A frame that was read, and how much of it did not fit in the buffers that were at hand.
  struct Frame {
    Header header;
    size_t size;
    size_t overflow;  // bytes at its end, which are in overflow_
    size_t buffers;   // how many were at hand
  };

  // Returns nothing if a frame is to be delivered.
  std::optional<Outcome> read();
  bool finish_reading(Frame& frame, size_t received);
  Result<bool> deliver();

  Backend& backend_;
  const uint64_t features_;
  Counters& counters_;
  RxBuffers buffers_;
  std::optional<Frame> waiting_;
  // Room for a whole frame, whatever the driver offers, and a byte that shows that one is too long. The host's memory
  // is used only as far as frames reach.
  const std::unique_ptr<std::byte[]> overflow_;
  std::vector<iovec> parts_;  // of one system call; kept to save allocations
};

}  // namespace nacre::virtio::net
