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

#include "base/result.h"
#include "devices/guest_memory.h"
#include "devices/virtio/chain.h"

namespace nacre::virtio {

// As the driver set it up through the transport.
struct QueueConfig {
  uint16_t size = 0;         // entries; a power of two, at most the device's maximum
  GuestAddress descriptors;  // descriptor table, 16-byte aligned
  GuestAddress driver_ring;  // available ring, 2-byte aligned
  GuestAddress device_ring;  // used ring, 4-byte aligned
};

class Queue {
 public:
  static constexpr uint16_t kMaxSize = 32768;  // virtio 1.3, 2.7

  // Checks size, alignment, and that the three rings lie in guest RAM. `features` are those the driver accepted
  // (bits kFeatureEventIdx and kFeatureIndirectDesc matter). `memory` must outlive the queue.
  static Result<Queue> create(const GuestMemory& memory, const QueueConfig& config, uint64_t features);

  // A queue that the driver did not set up: always empty, and nothing is ever asked of its driver.
  static Queue absent() { return Queue(); }

  // The next available chain; nothing when the ring is empty. An error: the driver broke the rules, the queue is dead
  // (every later pop() is an error too) and the device should call Interrupt::device_broken().
  Result<std::optional<Chain>> pop();

  // Gives a chain back with `written` bytes in its writable part. Chains may be returned in any order.
  Result<void> push(const Chain& chain, uint32_t written);

  // After a batch of push(): whether the driver wants an interrupt for them (2.7.7, 2.7.10).
  bool needs_interrupt();

  // Asks the driver to notify us of new buffers, or not to (2.7.10). After enabling, pop() again: buffers may have
  // come in between. With event index, disabling is free, and a notification comes once per enabling: a device that
  // waits for its kick without having enabled since its last pop() sleeps for ever.
  void enable_notifications();
  void disable_notifications();

  uint16_t size() const { return config_.size; }

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
