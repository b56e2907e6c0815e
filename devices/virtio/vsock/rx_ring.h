// The guest's receive buffers (virtio 1.3, 5.10.6): what packets to the guest are put into.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "base/log.h"
#include "devices/virtio/queue.h"
#include "devices/virtio/vsock/wire.h"

namespace nacre::virtio::vsock {

class RxRing {
 public:
  explicit RxRing(Queue queue) : queue_(std::move(queue)) { queue_.disable_notifications(); }

  // Whether a packet can be put in. Where not, the driver has been asked to notify us of new buffers.
  bool available();
  // The driver broke the queue's rules.
  bool broken() const { return broken_; }

  // A packet without payload. Only when available().
  void send(const Header& header);
  // Room for up to `limit` bytes of payload (at least 1), over as many buffers as are at hand, within reason. Only when
  // available(). Valid until the next call of anything else here.
  std::span<const iovec> room(size_t limit);
  // The first `bytes` of that room have been filled; each buffer becomes a packet with the header made for its length.
  void send_data(size_t bytes, const std::function<Header(uint32_t len)>& make_header);

  // After a batch: whether the driver wants an interrupt for it.
  bool needs_interrupt();

 private:
  struct Buffer {
    Chain chain;  // its writer holds just the header's place
    Writer body;
    size_t offered = 0;  // bytes of body in room_
  };

  bool fetch();
  void push(Buffer& buffer, const Header& header);

  Queue queue_;
  std::deque<Buffer> buffers_;  // taken from the queue and not used yet
  std::vector<iovec> room_;
  bool notifications_ = false;  // asked for
  bool broken_ = false;
  bool pushed_ = false;
  LogLimiter log_;
};

}  // namespace nacre::virtio::vsock
