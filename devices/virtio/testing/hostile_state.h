// SPDX-License-Identifier: Apache-2.0
// What every test of a saved state does with it: cut it short and flip its bits, over the same guest memory each time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "devices/guest_memory.h"

namespace nacre::testing {

// The content of guest memory at one moment.
class MemoryContent {
 public:
  explicit MemoryContent(const GuestMemory& memory) : memory_(memory) {
    auto bytes = memory.regions().front().mapping.bytes();
    content_.assign(bytes.begin(), bytes.end());
  }
  void put_back() const { std::ranges::copy(content_, memory_.regions().front().mapping.bytes().begin()); }

 private:
  const GuestMemory& memory_;
  std::vector<std::byte> content_;
};

// Calls `restore` with every state that is too short, the empty one first.
template <typename Restore>
void each_truncation(std::span<const std::byte> state, Restore&& restore) {
  for (size_t size = 0; size < state.size(); size++) {
    // A copy of just that size, so that a sanitizer sees a step beyond it.
    restore(std::vector<std::byte>(state.begin(), state.begin() + static_cast<ptrdiff_t>(size)));
  }
}

// Calls `restore` with the state once for each of its bits, with that bit flipped.
template <typename Restore>
void each_flipped_bit(std::span<const std::byte> state, Restore&& restore) {
  for (size_t bit = 0; bit < state.size() * 8; bit++) {
    std::vector<std::byte> flipped(state.begin(), state.end());
    flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    restore(flipped);
  }
}

}  // namespace nacre::testing
