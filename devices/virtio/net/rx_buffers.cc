// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/rx_buffers.h"

#include <algorithm>

namespace nacre::virtio::net {

namespace {

// No buffer is taken if there are more pieces of memory at hand. A chain has no more pieces than the queue has entries
// (256), so that all of them fit in one readv(2), which takes 1024.
constexpr size_t kMaxParts = 512;

}  // namespace

Result<bool> RxBuffers::fill(size_t wanted, bool ask) {
  bool asked = false;
  while (room_ < wanted && !is_full()) {
    if (TRY(take())) continue;
    if (!ask || asked || notifications_) break;
    queue_.enable_notifications();
    notifications_ = asked = true;  // a buffer may have come in between
  }
  return room_ >= wanted;
}

bool RxBuffers::is_full() const {
  return (!mergeable_ && !buffers_.empty()) || parts_ > kMaxParts || queue_.in_flight() >= queue_.size();
}

// Takes one buffer from the queue. The number of tries is bounded, since a driver could offer useless buffers as fast
// as they are given back.
Result<bool> RxBuffers::take() {
  for (uint32_t i = 0; i < queue_.size(); i++) {
    auto chain = TRY(queue_.pop());
    if (!chain) return false;
    if (std::exchange(notifications_, false)) queue_.disable_notifications();
    if (keep(*chain)) return true;
    Counters::add(counters_.refused, 1);
    TRY(queue_.push(*chain, 0));
  }
  return false;
}

bool RxBuffers::keep(Chain& chain) {
  size_t size = chain.writer.remaining();
  if (size < sizeof(Header)) return false;
  auto parts = chain.writer.peek();
  room_ += size;
  parts_ += parts.size();
  buffers_.push_back({.chain = std::move(chain), .size = size, .parts = std::move(parts)});
  return true;
}

void RxBuffers::append_body(std::vector<iovec>& parts) const {
  size_t skip = sizeof(Header);
  for (const Buffer& buffer : buffers_) {
    for (iovec part : buffer.parts) {
      size_t skipped = std::min(skip, part.iov_len);
      skip -= skipped;
      part.iov_base = static_cast<std::byte*>(part.iov_base) + skipped;
      part.iov_len -= skipped;
      if (part.iov_len > 0) parts.push_back(part);
    }
  }
}

Result<void> RxBuffers::write(size_t index, std::span<const std::byte> bytes) {
  for (; !bytes.empty(); index++) {
    if (index >= buffers_.size()) return fail("virtio-net: a frame does not fit", EMSGSIZE);
    size_t count = std::min(bytes.size(), buffers_[index].size);
    TRY(Writer(buffers_[index].parts).write(bytes.first(count)));
    bytes = bytes.subspan(count);
  }
  return {};
}

Result<void> RxBuffers::give(Header header, size_t size) {
  used_.clear();
  size_t left = sizeof(header) + size;
  if (left > room_) return fail("virtio-net: a frame does not fit", EMSGSIZE);
  for (size_t i = 0; left > 0; i++) {
    size_t count = std::min(left, buffers_[i].size);
    used_.push_back({.head = buffers_[i].chain.head, .written = static_cast<uint32_t>(count)});
    left -= count;
  }
  header.num_buffers = static_cast<uint16_t>(used_.size());
  TRY(Writer(buffers_.front().parts).write_object(header));
  TRY(queue_.push(used_));
  for (size_t i = 0; i < used_.size(); i++) {
    room_ -= buffers_.front().size;
    parts_ -= buffers_.front().parts.size();
    buffers_.pop_front();
  }
  return {};
}

std::vector<uint16_t> RxBuffers::held() const {
  std::vector<uint16_t> heads;
  for (const Buffer& buffer : buffers_) heads.push_back(buffer.chain.head);
  return heads;
}

Result<void> RxBuffers::hold_again(std::span<const uint16_t> heads) {
  if (heads.size() != queue_.in_flight()) return fail("virtio-net: receive buffers that are not the queue's", EBADMSG);
  for (uint16_t head : heads) {
    Chain chain = TRY(queue_.retake(head));
    if (!keep(chain)) return fail("virtio-net: a receive buffer that was too small to keep", EBADMSG);
  }
  return {};
}

}  // namespace nacre::virtio::net
