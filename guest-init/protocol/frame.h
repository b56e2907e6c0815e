// SPDX-License-Identifier: Apache-2.0
// Frames on a connection between nacre and guest-init: a little-endian u32 length (of what follows, at most kMaxFrame),
// then that many bytes of JSON, one object with a "type". What is in the objects is in messages.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/json.h"

namespace nacre::protocol {

using oci::Json;

inline constexpr uint32_t kMaxFrame = 16u << 20;

// How much a peer may make us hold for one message. Values count apart from bytes, since "[{},{}]" as a tree needs far
// more memory than as text.
struct Limits {
  uint32_t bytes = kMaxFrame;
  size_t values = SIZE_MAX;
};
// Of most answers and all events of a guest.
inline constexpr Limits kSmall{.bytes = 64 << 10, .values = 4096};
// Of answers that have what the kernel says of many processes.
inline constexpr Limits kLarge{.bytes = 4 << 20, .values = 256 << 10};

// Returns how many bytes a text takes in a message, at most: what is not UTF-8 grows by three, control characters by
// six.
size_t encoded_size(std::string_view text);

// Makes a frame of one message. Text that is not UTF-8 (a file name in an error, say) is made so.
Result<std::string> to_frame(const Json& message);

// Takes bytes as they come and gives whole messages.
class Decoder {
 public:
  explicit Decoder(Limits limits = {}) : limits_(limits) {}

  void append(std::span<const std::byte> bytes);
  // Returns the next message, or a null Json if more bytes are needed. An error is final: beyond the limits, not JSON,
  // not an object with a string "type", nested deeper than 64.
  Result<Json> next();

 private:
  Limits limits_;
  std::string buffer_;
};

// Sends a message. Fails with ETIMEDOUT if the peer has not taken all of it within `timeout_ms` (-1: no limit). Part of
// a long message may have been sent by then, after which the connection is of no use.
Result<void> send(int fd, const Json& message, int timeout_ms = -1);
// Blocks until there is a message. For short-lived commands on the host.
Result<Json> receive(int fd, Limits limits = {});

}  // namespace nacre::protocol
