// SPDX-License-Identifier: Apache-2.0
// Puts packets into the guest's receive buffers (virtio 1.3, 5.10.6).
#pragma once

#include <sys/uio.h>

#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/log.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/vsock/wire.h"

namespace nacre::virtio::vsock {

class RxRing {
 public:
  // The queue must outlive the ring.
  explicit RxRing(Queue& queue) : queue_(queue) { queue_.disable_notifications(); }

  // Returns whether a packet can be put in. If not, the driver has been asked to notify us of new buffers, unless the
  // queue has failed.
  bool available();
  // Returns how the driver broke the rules of the queue, if it did.
  const std::optional<Error>& failure() const { return failure_; }

  // Sends a packet without payload. Call this only if available().
  void send(const Header& header);
  // Returns room for up to `limit` bytes of payload (`limit` is at least 1). The room spans as many buffers as are at
  // hand and as one system call should fill. Call this only if available(). The room is valid until the next call of
  // another function.
  std::span<const iovec> room(size_t limit);
  // Sends the first `bytes` of the room that room() returned. Each buffer becomes a packet; `make_header` makes the
  // header for its length.
  void send_data(size_t bytes, const std::function<Header(uint32_t len)>& make_header);

  // Returns whether the driver wants an interrupt for the packets since the last call.
  bool needs_interrupt();

  // Returns the buffers that were taken from the queue and not used, by the heads of their chains.
  std::vector<uint16_t> held() const;
  // Takes the buffers that held() returned again. The ring must not have taken any buffers yet.
  Result<void> hold_again(std::span<const uint16_t> heads);

 private:
  struct Buffer {
    Chain chain;  // its writer covers only the place of the header
    Writer body;
    size_t offered = 0;  // bytes of body in room_
  };

  bool fetch();
  // Keeps the buffer of a chain. Returns false if the buffer is too small.
  bool keep(Chain chain);
  void push(Buffer& buffer, const Header& header);

  Queue& queue_;
  std::deque<Buffer> buffers_;  // taken from the queue and not used yet
  std::vector<iovec> room_;
  bool notifications_ = false;  // asked for
  std::optional<Error> failure_;
  bool pushed_ = false;
  LogLimiter log_;
};

}  // namespace nacre::virtio::vsock
