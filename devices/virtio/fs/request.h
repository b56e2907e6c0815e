// SPDX-License-Identifier: Apache-2.0
// Decodes one FUSE request, which is copied out of guest memory once, and builds the reply to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/chain.h"
#include "devices/virtio/fs/errno_result.h"
#include "devices/virtio/fs/wire.h"

namespace nacre::virtio::fs {

// The largest request other than WRITE: SETXATTR with a value of XATTR_SIZE_MAX, or a long BATCH_FORGET.
inline constexpr size_t kMaxBody = 128 << 10;

// A decoded request. Everything but the payload of WRITE has been copied out of guest memory, so the guest cannot
// change what a handler has checked.
class Request {
 public:
  // `body` follows the header and does not include the extensions. `payload` follows the body (WRITE only).
  Request(const wire::InHeader& header, std::span<const std::byte> body, Reader* payload)
      : header_(header), body_(body), payload_(payload) {}

  const wire::InHeader& header() const { return header_; }
  uint64_t nodeid() const { return header_.nodeid; }

  // Takes the next bytes of the body as a structure. Returns EINVAL if there are too few.
  template <typename T>
  OrErrno<T> take() {
    T value{};
    if (body_.size() < sizeof(T)) return errno_of(EINVAL);
    std::memcpy(&value, body_.data(), sizeof(T));
    body_ = body_.subspan(sizeof(T));
    return value;
  }

  // Takes the next string, which must end with a NUL within the request and have 1 to `longest` bytes.
  OrErrno<const char*> take_string(size_t longest);
  // Takes the next string as the name of a directory entry: one path component, at most NAME_MAX bytes, never "." or
  // "..".
  OrErrno<const char*> take_name();
  OrErrno<std::span<const std::byte>> take_bytes(size_t size);
  size_t remaining() const { return body_.size(); }

  // Returns the data of WRITE, in guest memory.
  Reader& payload() { return *payload_; }

 private:
  wire::InHeader header_;
  std::span<const std::byte> body_;
  Reader* payload_;
};

// The part of the reply after the header. If the handler fails, the guest gets nothing of what was put here.
class Reply {
 public:
  explicit Reply(Writer body) : body_(std::move(body)) {}

  size_t room() const { return body_.remaining(); }

  template <typename T>
  OrErrno<void> put(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    return put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  OrErrno<void> put_bytes(std::span<const std::byte> bytes);

  // For reads straight into guest memory: iovecs() returns where the next bytes go, and advance() counts the bytes that
  // have been written there.
  std::vector<iovec> iovecs(size_t limit) const { return body_.peek(limit); }
  OrErrno<void> advance(size_t count);

  size_t size() const { return body_.written(); }

  // Marks the request as one that the handler keeps and answers later (SETLKW).
  void defer() { deferred_ = true; }
  bool deferred() const { return deferred_; }

 private:
  Writer body_;
  bool deferred_ = false;
};

}  // namespace nacre::virtio::fs
