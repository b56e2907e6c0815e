// SPDX-License-Identifier: Apache-2.0
// Keeps bytes that wait for a slow reader. The ring is bounded and has no cost per packet, so a guest that sends single
// bytes takes no more memory than a guest that sends whole buffers.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace nacre::virtio::vsock {

class ByteRing {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Appends bytes. The caller limits how many. Memory grows in powers of two and is freed when the ring is empty.
  void append(std::span<const iovec> data);

  // Points `pieces` at all bytes, oldest first. Returns the number of pieces, at most two.
  size_t peek(std::array<iovec, 2>& pieces) const;
  void consume(size_t count);  // `count` is at most size()
  void clear();

 private:
  void reserve(size_t capacity);
  void copy_in(std::span<const std::byte> data);

  std::unique_ptr<std::byte[]> data_;
  size_t capacity_ = 0;  // a power of two, or 0
  size_t head_ = 0;      // position of the oldest byte
  size_t size_ = 0;
};

}  // namespace nacre::virtio::vsock
