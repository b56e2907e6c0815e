// SPDX-License-Identifier: Apache-2.0
// A split virtqueue, device side (virtio 1.3, section 2.7), with indirect descriptors and event index.
//
// Safety: the configuration is copied at construction (DRIVER_OK) and never read again; each descriptor is copied once
// and only the copy is used; `next`, heads and table lengths are checked against the frozen size; a chain is bounded by
// the queue size, indirect tables included; every buffer must lie in guest RAM; available entries per pop are bounded
// by the queue size. A driver that breaks a rule gets its device marked DEVICE_NEEDS_RESET (2.1.2); nothing else.
//
// Not thread-safe: one thread at a time uses a queue.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "devices/guest_memory.h"
#include "devices/state.h"
#include "devices/virtio/chain.h"

namespace nacre::virtio {

// As the driver set it up through the transport.
struct QueueConfig {
  uint16_t size = 0;         // entries; a power of two, at most the device's maximum
  GuestAddress descriptors;  // descriptor table, 16-byte aligned
  GuestAddress driver_ring;  // available ring, 2-byte aligned
  GuestAddress device_ring;  // used ring, 4-byte aligned
};

// Where a device is in a queue.
struct QueueState {
  static constexpr size_t kSavedSize = 2 + 2 + 8 + 1;

  uint16_t next_available = 0;
  uint16_t next_used = 0;
  uint64_t unsignalled = 0;
  bool broken = false;

  bool operator==(const QueueState&) const = default;
  void save(StateWriter& state) const;
  static Result<QueueState> restore(StateReader& state);
};

// A chain that goes back to the driver with `written` bytes in its writable part.
struct UsedChain {
  uint16_t head = 0;
  uint32_t written = 0;
};

class Queue {
 public:
  static constexpr uint16_t kMaxSize = 32768;  // virtio 1.3, 2.7

  // Checks size, alignment, and that the three rings lie in guest RAM. `features` are those the driver accepted
  // (bits kFeatureEventIdx and kFeatureIndirectDesc matter). `memory` must outlive the queue.
  static Result<Queue> create(const GuestMemory& memory, const QueueConfig& config, uint64_t features);

  // Returns a queue that the driver did not set up: always empty, and its driver is never asked for anything.
  static Queue absent() { return Queue(); }

  // Takes the next available chain; nothing if the ring is empty. An error means that the driver broke the rules: the
  // queue is dead (every later pop() is an error too), and the device should call Interrupt::device_broken().
  Result<std::optional<Chain>> pop();

  // Gives a chain back with `written` bytes in its writable part. Chains may be returned in any order.
  Result<void> push(const Chain& chain, uint32_t written);
  // Gives several chains back, which the driver sees all at once (5.1.6.4).
  Result<void> push(std::span<const UsedChain> chains);

  // After a batch of push(): returns whether the driver wants an interrupt for them (2.7.7, 2.7.10).
  bool needs_interrupt();

  // Asks the driver to notify us of new buffers, or not to (2.7.10). After enabling, pop() again: buffers may have
  // come in between. With event index, disabling is free, and a notification comes once per enabling: a device that
  // waits for its kick without having enabled since its last pop() sleeps for ever.
  void enable_notifications();
  void disable_notifications();

  uint16_t size() const { return config_.size; }

  // For save and restore. Chains that were taken and not given back are their taker's to remember, by their heads.
  QueueState state() const;
  // Goes on where a saved queue was. The state is checked against the rings in guest memory: a place that they cannot
  // be at is an error.
  Result<void> restore(const QueueState& state);
  // Number of chains that are taken and not given back.
  uint16_t in_flight() const { return static_cast<uint16_t>(next_available_ - next_used_); }
  // Follows a chain again that was taken before the queue was saved.
  Result<Chain> retake(uint16_t head);

 private:
  Queue() = default;
  Queue(const GuestMemory& memory, const QueueConfig& config, uint64_t features);
  Result<std::optional<Chain>> take();
  Result<Chain> follow(uint16_t head);

  const GuestMemory* memory_ = nullptr;  // null: absent
  QueueConfig config_;
  bool event_index_ = false;
  bool indirect_ = false;
  bool broken_ = false;
  uint16_t next_available_ = 0;  // next entry of the available ring to take
  uint16_t next_used_ = 0;       // next entry of the used ring to fill
  uint64_t unsignalled_ = 0;     // entries pushed since the last needs_interrupt()
};

}  // namespace nacre::virtio
