// SPDX-License-Identifier: Apache-2.0
// The saved state of devices: a small little-endian format that is written once and read as hostile input.
//
//   scalars     8 to 64 bits; a bool is a byte, 0 or 1
//   bytes       a 32-bit length and the bytes
//   lists       a 32-bit count and the items
//   sections    a name, a 16-bit version, a 64-bit length and the content
//
// A reader is told the largest size of everything that it reads, takes nothing from the state but views of it, and so
// allocates nothing by a length that the state claims. Bytes that are left over at the end of a section are an error. A
// section of a version that is newer than its reader is an error as well; a reader of an old version looks at
// version().
//
// The outermost level (seal_state(), open_state()) adds a checksum, which tells a damaged file from a good one early.
// No reader relies on that: whoever forges a state forges the checksum too.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace nacre {

class StateWriter {
 public:
  void u8(uint8_t value) { scalar(value); }
  void u16(uint16_t value) { scalar(value); }
  void u32(uint32_t value) { scalar(value); }
  void u64(uint64_t value) { scalar(value); }
  void boolean(bool value) { scalar<uint8_t>(value ? 1 : 0); }
  // At most 4 GiB less one byte.
  void bytes(std::span<const std::byte> value);
  void text(std::string_view value) { bytes(std::as_bytes(std::span(value))); }
  // Begins a list: the caller writes the items.
  void count(size_t items) { scalar(static_cast<uint32_t>(items)); }

  // Writes a section whose content is what `fill` writes. `fill` may return a Result, which is then returned.
  template <typename Fill>
  auto section(std::string_view name, uint16_t version, Fill&& fill) {
    size_t length_at = begin_section(name, version);
    if constexpr (std::is_void_v<decltype(fill())>) {
      fill();
      end_section(length_at);
    } else {
      auto result = fill();
      end_section(length_at);
      return result;
    }
  }

  const std::vector<std::byte>& content() const { return content_; }

 private:
  template <std::unsigned_integral T>
  void scalar(T value) {
    auto raw = std::as_bytes(std::span(&value, 1));
    content_.insert(content_.end(), raw.begin(), raw.end());
  }
  size_t begin_section(std::string_view name, uint16_t version);
  void end_section(size_t length_at);

  std::vector<std::byte> content_;
};

// Reads what a StateWriter has written, in the same order. Holds a view: the bytes must outlive the reader.
class StateReader {
 public:
  explicit StateReader(std::span<const std::byte> content) : StateReader(content, "state", 0) {}

  Result<uint8_t> u8() { return scalar<uint8_t>(); }
  Result<uint16_t> u16() { return scalar<uint16_t>(); }
  Result<uint32_t> u32() { return scalar<uint32_t>(); }
  Result<uint64_t> u64() { return scalar<uint64_t>(); }
  Result<bool> boolean();
  Result<std::span<const std::byte>> bytes(size_t most);
  Result<std::string> text(size_t most);
  // The number of items of a list: at most `most`, and no more than fit what is left, at `item_size` bytes or more
  // each.
  Result<uint32_t> count(size_t most, size_t item_size = 1);

  // Steps over a section and returns a reader of its content. Another name, or a version that is 0 or newer than
  // `newest`, is an error.
  Result<StateReader> section(std::string_view name, uint16_t newest);
  uint16_t version() const { return version_; }

  // Whoever has read all that he knows calls this: what is left over is an error.
  Result<void> end() const;
  size_t remaining() const { return left_.size(); }

  // An error about the content, with the section's name.
  std::unexpected<Error> invalid(std::string_view what) const;

 private:
  StateReader(std::span<const std::byte> content, std::string_view name, uint16_t version)
      : left_(content), name_(name), version_(version) {}
  Result<std::span<const std::byte>> take(size_t size);
  template <std::unsigned_integral T>
  Result<T> scalar() {
    T value;
    auto raw = TRY(take(sizeof(value)));
    std::copy(raw.begin(), raw.end(), std::as_writable_bytes(std::span(&value, 1)).begin());
    return value;
  }

  std::span<const std::byte> left_;
  std::string name_;
  uint16_t version_;
};

// A whole state as it is stored: a magic number, the format's version, a checksum and the content.
std::vector<std::byte> seal_state(const StateWriter& state);
// Returns a reader of the content. `stored` must outlive it.
Result<StateReader> open_state(std::span<const std::byte> stored);

}  // namespace nacre
