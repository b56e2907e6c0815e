// SPDX-License-Identifier: Apache-2.0
#include "devices/plugged_blocks.h"

#include <algorithm>
#include <bit>

namespace nacre {

namespace {

constexpr uint64_t kBits = 64;

// Calls `visit` with each word's index and the bits of [first, first + count) in it.
template <typename Visit>
void each_word(uint64_t first, uint64_t count, Visit visit) {
  while (count > 0) {
    uint64_t bit = first % kBits;
    uint64_t here = std::min(count, kBits - bit);
    uint64_t mask = here == kBits ? ~uint64_t{0} : ((uint64_t{1} << here) - 1) << bit;
    visit(first / kBits, mask);
    first += here;
    count -= here;
  }
}

}  // namespace

void PluggedBlocks::set(uint64_t first, uint64_t count, bool plugged) {
  each_word(first, count, [&](uint64_t word, uint64_t mask) {
    if (plugged) {
      words_[word].fetch_or(mask, std::memory_order_release);
    } else {
      words_[word].fetch_and(~mask, std::memory_order_release);
    }
  });
}

uint64_t PluggedBlocks::count(uint64_t first, uint64_t count) const {
  uint64_t sum = 0;
  each_word(first, count, [&](uint64_t word, uint64_t mask) {
    sum += static_cast<uint64_t>(std::popcount(words_[word].load(std::memory_order_acquire) & mask));
  });
  return sum;
}

bool PluggedBlocks::hold(uint64_t offset, uint64_t size) const {
  if (size == 0) return true;
  uint64_t first = offset / block_size_;
  uint64_t wanted = (offset + size - 1) / block_size_ - first + 1;
  return count(first, wanted) == wanted;
}

}  // namespace nacre
