// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace nacre::virtio::net {

// What has become of the frames of one direction. One thread counts, and any may look.
struct Counters {
  std::atomic<uint64_t> frames = 0;
  std::atomic<uint64_t> bytes = 0;    // of those frames
  std::atomic<uint64_t> dropped = 0;  // frames that did not go on
  std::atomic<uint64_t> refused = 0;  // chains that hold no frame, or none that may go on

  void count(uint64_t size) {
    add(frames, 1);
    add(bytes, size);
  }
  // There is one writer: no locked instruction is needed.
  static void add(std::atomic<uint64_t>& counter, uint64_t value) {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }
};

}  // namespace nacre::virtio::net
