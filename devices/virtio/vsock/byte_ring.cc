// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/byte_ring.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nacre::virtio::vsock {

namespace {

constexpr size_t kMinCapacity = 4096;

}  // namespace

void ByteRing::append(std::span<const iovec> data) {
  size_t total = 0;
  for (const iovec& piece : data) total += piece.iov_len;
  if (total == 0) return;
  if (size_ + total > capacity_) reserve(std::max(std::bit_ceil(size_ + total), kMinCapacity));
  for (const iovec& piece : data) copy_in({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
}

void ByteRing::copy_in(std::span<const std::byte> data) {
  while (!data.empty()) {
    size_t tail = (head_ + size_) & (capacity_ - 1);
    size_t count = std::min(data.size(), capacity_ - tail);
    std::memcpy(data_.get() + tail, data.data(), count);
    size_ += count;
    data = data.subspan(count);
  }
}

size_t ByteRing::peek(std::array<iovec, 2>& pieces) const {
  if (size_ == 0) return 0;
  size_t first = std::min(size_, capacity_ - head_);
  pieces[0] = {data_.get() + head_, first};
  if (first == size_) return 1;
  pieces[1] = {data_.get(), size_ - first};
  return 2;
}

void ByteRing::consume(size_t count) {
  size_ -= count;
  if (size_ == 0) {
    clear();
  } else {
    head_ = (head_ + count) & (capacity_ - 1);
  }
}

void ByteRing::clear() {
  data_.reset();
  capacity_ = head_ = size_ = 0;
}

void ByteRing::reserve(size_t capacity) {
  std::unique_ptr<std::byte[]> data(new std::byte[capacity]);
  std::array<iovec, 2> pieces;
  size_t count = peek(pieces);
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    std::memcpy(data.get() + at, pieces[i].iov_base, pieces[i].iov_len);
    at += pieces[i].iov_len;
  }
  data_ = std::move(data);
  capacity_ = capacity;
  head_ = 0;
}

}  // namespace nacre::virtio::vsock
