// SPDX-License-Identifier: Apache-2.0
// The driver's receive buffers: those that were taken from the queue and wait for a frame.
//
// A frame is read into as many buffers as are at hand, so that no copy is needed. Those that it does not reach wait for
// the next frame.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <span>
#include <vector>

#include "devices/virtio/net/counters.h"
#include "devices/virtio/net/wire.h"
#include "devices/virtio/queue.h"

namespace nacre::virtio::net {

class RxBuffers {
 public:
  // Both must outlive this object. If `mergeable`, a frame may be spread over several buffers (5.1.6.3.1).
  RxBuffers(Queue& queue, bool mergeable, Counters& counters)
      : queue_(queue), counters_(counters), mergeable_(mergeable) {}

  // Takes buffers until there is room for `wanted` bytes, or no buffer is left. If `ask`, asks the driver in that case
  // to notify us of the next one. Returns whether there is room. Buffers that cannot hold a header go back at once. An
  // error: the driver broke the rules of the queue.
  Result<bool> fill(size_t wanted, bool ask);

  // Returns how many bytes one frame may have, its header included.
  size_t room() const { return room_; }
  size_t count() const { return buffers_.size(); }
  // Returns whether room() grows no further, whatever buffers the driver offers.
  bool is_full() const;

  // Appends the room of all buffers but the header's.
  void append_body(std::vector<iovec>& parts) const;
  // Copies bytes into the buffers from the one at `index` on. Only within room().
  Result<void> write(size_t index, std::span<const std::byte> bytes);
  // Gives the first buffers back to the driver, with a frame of `size` bytes that lies in them behind the header. Only
  // if header and frame fit in room().
  Result<void> give(Header header, size_t size);

  // Returns the buffers, by the heads of their chains.
  std::vector<uint16_t> held() const;
  // Takes the buffers that held() returned again. Before any others.
  Result<void> hold_again(std::span<const uint16_t> heads);

 private:
  struct Buffer {
    Chain chain;
    size_t size;
    std::vector<iovec> parts;  // what the chain's writer covers
  };

  Result<bool> take();
  bool keep(Chain& chain);

  Queue& queue_;
  Counters& counters_;
  const bool mergeable_;
  std::deque<Buffer> buffers_;
  size_t room_ = 0;              // of all buffers
  size_t parts_ = 0;             // of all buffers
  bool notifications_ = false;   // asked for at the queue's present place
  std::vector<UsedChain> used_;  // of one frame; kept to save allocations
};

}  // namespace nacre::virtio::net
