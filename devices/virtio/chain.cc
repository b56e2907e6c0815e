// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/chain.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace nacre::virtio {

IovecCursor::IovecCursor(std::vector<iovec> iovecs) : iovecs_(std::move(iovecs)) {
  for (const iovec& part : iovecs_) remaining_ += part.iov_len;
}

std::vector<iovec> IovecCursor::peek(size_t limit) const {
  std::vector<iovec> parts;
  size_t left = std::min(limit, remaining_);
  size_t offset = offset_;
  for (size_t i = index_; left > 0 && i < iovecs_.size(); i++) {
    size_t length = std::min(iovecs_[i].iov_len - offset, left);
    if (length > 0) parts.push_back({static_cast<std::byte*>(iovecs_[i].iov_base) + offset, length});
    left -= length;
    offset = 0;
  }
  return parts;
}

Result<void> IovecCursor::skip(size_t count) {
  if (count > remaining_) return fail("descriptor chain too short", EINVAL);
  remaining_ -= count;
  while (count > 0) {
    size_t here = iovecs_[index_].iov_len - offset_;
    if (count < here) {
      offset_ += count;
      return {};
    }
    count -= here;
    index_++;
    offset_ = 0;
  }
  return {};
}

Result<void> Reader::read(std::span<std::byte> out) {
  if (out.size() > remaining()) return fail("descriptor chain too short to read from", EINVAL);
  size_t done = 0;
  for (const iovec& part : peek(out.size())) {
    std::memcpy(out.data() + done, part.iov_base, part.iov_len);
    done += part.iov_len;
  }
  // The guest may write to its buffers meanwhile: the compiler must not fetch again what was copied (see GuestMemory).
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return skip(done);
}

Result<void> Writer::write(std::span<const std::byte> in) {
  if (in.size() > remaining()) return fail("descriptor chain too short to write to", EINVAL);
  size_t done = 0;
  for (const iovec& part : peek(in.size())) {
    std::memcpy(part.iov_base, in.data() + done, part.iov_len);
    done += part.iov_len;
  }
  return skip(done);
}

Result<Writer> Writer::split_after(size_t count) {
  if (count > remaining()) return fail("descriptor chain too short to split", EINVAL);
  size_t before = written();
  Writer tail(peek());
  TRY(tail.skip(count));
  tail = Writer(tail.peek());
  Writer head(peek(count));
  head.capacity_ += before;  // what was written before the split still counts
  *this = std::move(head);
  return tail;
}

}  // namespace nacre::virtio
