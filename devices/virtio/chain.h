// SPDX-License-Identifier: Apache-2.0
// A descriptor chain as a device sees it: bytes to read, then bytes to write, all of them checked.
//
// The queue has copied the descriptors once, followed them without loops, and checked that every buffer lies in guest
// RAM. The content of the buffers is still not to be trusted, as the guest may change it at any time: read() copies it
// out once.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace nacre::virtio {

// A cursor over iovecs. Shared by Reader and Writer.
class IovecCursor {
 public:
  IovecCursor() = default;
  explicit IovecCursor(std::vector<iovec> iovecs);

  // Returns the number of bytes between the cursor and the end.
  size_t remaining() const { return remaining_; }

  // Returns up to `limit` bytes from the cursor as iovecs for readv/writev, without moving the cursor.
  std::vector<iovec> peek(size_t limit = SIZE_MAX) const;
  // Moves the cursor on. A step past the end is an error and moves nothing.
  Result<void> skip(size_t count);

 private:
  std::vector<iovec> iovecs_;
  size_t index_ = 0;   // iovec under the cursor
  size_t offset_ = 0;  // and the offset in it
  size_t remaining_ = 0;
};

// The device-readable part.
class Reader : public IovecCursor {
 public:
  using IovecCursor::IovecCursor;

  // Copies out.size() bytes and moves on. If fewer remain, that is an error and moves nothing.
  Result<void> read(std::span<std::byte> out);

  template <typename T>
  Result<T> read_object() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    TRY(read(std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
};

// The device-writable part.
class Writer : public IovecCursor {
 public:
  using IovecCursor::IovecCursor;
  explicit Writer(std::vector<iovec> iovecs) : IovecCursor(std::move(iovecs)), capacity_(remaining()) {}
  Writer() = default;

  // Copies all of `in` and moves on. Too little room is an error and writes nothing.
  Result<void> write(std::span<const std::byte> in);

  template <typename T>
  Result<void> write_object(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(std::as_bytes(std::span(&value, 1)));
  }

  // Splits off the part after the next `count` bytes: the returned Writer starts there, and this one ends there. So a
  // device can fill in a header after the body. More than remaining() is an error.
  Result<Writer> split_after(size_t count);

  // Returns the number of bytes written or skipped since the start, which is what push() takes as the used length.
  size_t written() const { return capacity_ - remaining(); }

 private:
  size_t capacity_ = 0;
};

// One request. Move-only: it goes back to its queue by push() exactly once.
struct Chain {
  uint16_t head = 0;  // index of the head descriptor
  Reader reader;
  Writer writer;

  Chain() = default;
  Chain(Chain&&) = default;
  Chain& operator=(Chain&&) = default;
};

}  // namespace nacre::virtio
