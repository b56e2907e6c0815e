// SPDX-License-Identifier: Apache-2.0
// Takes a fuzzer's input apart from its front. When the input is used up, everything more is zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace nacre::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const { return left_.empty(); }

  template <typename T>
  T take() {
    T value{};
    auto raw = bytes(sizeof(T));
    if (!raw.empty()) std::memcpy(&value, raw.data(), raw.size());
    return value;
  }
  // Takes up to `size` bytes.
  std::span<const std::byte> bytes(size_t size) {
    auto taken = left_.first(std::min(size, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() { return bytes(left_.size()); }

 private:
  std::span<const std::byte> left_;
};

}  // namespace nacre::fuzz
