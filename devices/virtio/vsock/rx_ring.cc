// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/rx_ring.h"

#include <algorithm>

namespace nacre::virtio::vsock {

namespace {

// The most buffers that one system call fills. Linux offers buffers of 4 KiB each, headers included.
constexpr size_t kMaxBatch = 16;

}  // namespace

bool RxRing::available() {
  bool found = !buffers_.empty() || fetch();
  if (!found && !failure_ && !notifications_) {
    queue_.enable_notifications();
    notifications_ = true;
    found = fetch();  // a buffer may have come in between
  }
  if (found && notifications_) {
    queue_.disable_notifications();
    notifications_ = false;
  }
  return found;
}

// Takes one usable buffer from the queue. The number of tries is bounded, since a driver could offer useless buffers as
// fast as they are dropped.
bool RxRing::fetch() {
  for (uint32_t i = 0; i < queue_.size() && !failure_; i++) {
    auto popped = queue_.pop();
    if (!popped) {
      failure_ = popped.error();
      break;
    }
    if (!*popped) return false;
    uint16_t head = (**popped).head;
    if (keep(std::move(**popped))) return true;
    log_.warn("vsock: a receive buffer is too small, dropped");
    Chain dropped;
    dropped.head = head;
    if (auto pushed = queue_.push(dropped, 0); !pushed) failure_ = pushed.error();
    notifications_ = false;  // with event index, they were asked for at a position that has passed
    pushed_ = true;
  }
  return false;
}

bool RxRing::keep(Chain chain) {
  // A buffer without room for payload could take some packets only, and would block the others.
  if (chain.writer.remaining() <= kHeaderSize) return false;
  Buffer buffer{.chain = std::move(chain), .body = {}, .offered = 0};
  buffer.body = std::move(buffer.chain.writer.split_after(kHeaderSize)).value();
  buffers_.push_back(std::move(buffer));
  return true;
}

void RxRing::push(Buffer& buffer, const Header& header) {
  auto pushed = [&]() -> Result<void> {
    TRY(buffer.chain.writer.write_object(header));
    return queue_.push(buffer.chain, kHeaderSize + header.len);
  }();
  if (!pushed) failure_ = pushed.error();
  pushed_ = true;
}

void RxRing::send(const Header& header) {
  push(buffers_.front(), header);
  buffers_.pop_front();
}

std::span<const iovec> RxRing::room(size_t limit) {
  room_.clear();
  for (size_t i = 0; i < kMaxBatch && limit > 0; i++) {
    if (i == buffers_.size() && !fetch()) break;
    Buffer& buffer = buffers_[i];
    buffer.offered = std::min(buffer.body.remaining(), limit);
    limit -= buffer.offered;
    auto pieces = buffer.body.peek(buffer.offered);
    room_.insert(room_.end(), pieces.begin(), pieces.end());
  }
  return room_;
}

void RxRing::send_data(size_t bytes, const std::function<Header(uint32_t len)>& make_header) {
  while (bytes > 0) {
    Buffer& buffer = buffers_.front();
    size_t count = std::min(bytes, buffer.offered);
    push(buffer, make_header(static_cast<uint32_t>(count)));
    buffers_.pop_front();
    bytes -= count;
  }
}

bool RxRing::needs_interrupt() {
  if (!pushed_) return false;
  pushed_ = false;
  return queue_.needs_interrupt();
}

std::vector<uint16_t> RxRing::held() const {
  std::vector<uint16_t> heads;
  for (const Buffer& buffer : buffers_) heads.push_back(buffer.chain.head);
  return heads;
}

Result<void> RxRing::hold_again(std::span<const uint16_t> heads) {
  if (heads.size() != queue_.in_flight()) return fail("vsock: receive buffers that are not the queue's", EBADMSG);
  for (uint16_t head : heads) {
    if (!keep(TRY(queue_.retake(head)))) return fail("vsock: a receive buffer that was too small to keep", EBADMSG);
  }
  return {};
}

}  // namespace nacre::virtio::vsock
