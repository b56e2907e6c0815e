// SPDX-License-Identifier: Apache-2.0
// Which blocks of a region of guest memory are there: what virtio-mem decides and GuestMemory looks at.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nacre {

// One thread sets; any thread asks, at the same time.
class PluggedBlocks {
 public:
  PluggedBlocks(uint64_t block_size, uint64_t blocks)
      : block_size_(block_size), blocks_(blocks), words_((blocks + kBits - 1) / kBits) {}

  uint64_t block_size() const { return block_size_; }
  uint64_t blocks() const { return blocks_; }

  // [first, first + count) must lie in the region.
  void set(uint64_t first, uint64_t count, bool plugged);
  uint64_t count(uint64_t first, uint64_t count) const;  // of those, how many are plugged

  // Whether all bytes of [offset, offset + size), which lies in the region, are plugged.
  bool hold(uint64_t offset, uint64_t size) const;

 private:
  static constexpr uint64_t kBits = 64;

  const uint64_t block_size_;
  const uint64_t blocks_;
  std::vector<std::atomic<uint64_t>> words_;
};

}  // namespace nacre
