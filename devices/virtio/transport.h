// SPDX-License-Identifier: Apache-2.0
// What every virtio transport does, whatever its registers look like: device status (virtio 1.3, 2.1), feature
// negotiation (3.1), set-up of the queues, activation, reset, notifications, and the saved state of all of that.
//
// A transport is a decoder of registers on top: it calls one function here for each register, and gives an
// InterruptSink that turns notifications into interrupts (a line and a status register for MMIO, a message for each
// queue for PCI).
//
// Thread-safe: vCPUs call at any time. A lock serializes the calls of the device; notify() and config_generation() go
// without it, since a reset of the device may hold it for long.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/mutex.h"
#include "devices/guest_memory.h"
#include "devices/state.h"
#include "devices/virtio/device.h"

namespace nacre::virtio {

// Bits of the device status (2.1).
inline constexpr uint32_t kStatusAcknowledge = 1;
inline constexpr uint32_t kStatusDriver = 2;
inline constexpr uint32_t kStatusDriverOk = 4;
inline constexpr uint32_t kStatusFeaturesOk = 8;
inline constexpr uint32_t kStatusNeedsReset = 64;
inline constexpr uint32_t kStatusFailed = 128;

// Where a transport's notifications go. Called from any thread, by several at once.
class InterruptSink {
 public:
  virtual ~InterruptSink() = default;
  virtual void queue_used(uint16_t queue) = 0;
  // The configuration or the device status has changed.
  virtual void config_changed() = 0;
  // The device was reset: forgets what the driver has not acknowledged.
  virtual void clear() = 0;
};

class TransportCore {
 public:
  // One of the three parts of a queue (2.7).
  enum class QueuePart { descriptors, driver_ring, device_ring };
  enum class Half { low, high };

  // All three must outlive the transport.
  static Result<std::unique_ptr<TransportCore>> create(VirtioDevice& device, const GuestMemory& memory,
                                                       InterruptSink& sink);
  // Resets the device.
  ~TransportCore();

  size_t queue_count() const { return kicks_.size(); }
  // The eventfd that a notification of this queue signals; owned by the transport.
  int queue_event(size_t index) const { return kicks_.at(index).get(); }

  // Passes on the driver's notification that a queue has new buffers. An index that no queue has does nothing.
  void notify(uint32_t queue);
  // Counts the changes of the configuration space (2.5).
  uint32_t config_generation() const { return generation_; }

  uint32_t device_type() const { return device_.type(); }
  uint32_t status();
  // Follows 2.1 and 3.1.1: bits are set one after the other and cleared only by writing 0, which resets the device. A
  // bit that comes too early, or that the device cannot agree to, stays clear, which is what the driver looks at.
  void write_status(uint32_t value);

  // 32 bits of the features on offer; there are none past the second word yet.
  uint32_t device_features(uint32_t word);
  // Ignored once FEATURES_OK is set: what was agreed stays (3.1.1).
  void write_driver_features(uint32_t word, uint32_t value);

  // 0 for an index that no queue has.
  uint16_t queue_max_size(uint32_t queue);
  bool is_queue_ready(uint32_t queue);
  // A queue that is ready keeps its size and addresses, and from DRIVER_OK until reset none of these does anything: a
  // queue in use never sees its set-up change.
  void set_queue_size(uint32_t queue, uint32_t size);
  void set_queue_address(uint32_t queue, QueuePart part, Half half, uint32_t value);
  // Checks the queue. One that cannot be used stays not ready and sets DEVICE_NEEDS_RESET.
  void set_queue_ready(uint32_t queue, bool ready);

  void read_config(uint64_t offset, std::span<std::byte> data);
  // Ignored before the driver has introduced itself.
  void write_config(uint64_t offset, std::span<const std::byte> data);

  // Stops the device's work and lets it go on (VirtioDevice::pause()).
  void pause();
  void resume();
  // Writes the state of the transport and of its device. The device must be paused.
  Result<void> save(StateWriter& state);
  // Takes over a saved state, in a transport that no driver has touched and whose device is created and paused. Checks
  // everything: addresses of queues against guest memory, features against those on offer. After an error the device
  // is as after a reset.
  Result<void> restore(StateReader& state);

 private:
  class CoreInterrupt;
  struct QueueSetup {
    QueueConfig config;
    bool ready = false;
  };

  TransportCore(VirtioDevice& device, const GuestMemory& memory, InterruptSink& sink)
      : device_(device), memory_(memory), sink_(sink) {}
  uint64_t offered_features() const;
  bool are_features_acceptable() const REQUIRES(mutex_);
  // The queue, if its set-up may still be changed.
  QueueSetup* changeable(uint32_t queue) REQUIRES(mutex_);
  Result<void> check_queue(size_t index) const REQUIRES(mutex_);
  void activate() REQUIRES(mutex_);
  Result<void> start_device() REQUIRES(mutex_);
  void reset() REQUIRES(mutex_);
  void warn(std::string_view what);
  Result<void> restore_fields(StateReader& state) REQUIRES(mutex_);
  Result<void> check_restored_status() const REQUIRES(mutex_);
  Result<void> restore_queues(StateReader& state) REQUIRES(mutex_);

  VirtioDevice& device_;
  const GuestMemory& memory_;
  InterruptSink& sink_;
  std::vector<Fd> kicks_;  // never changes
  LogLimiter log_;
  std::atomic<uint32_t> generation_ = 0;
  std::atomic<bool> needs_reset_ = false;

  Mutex mutex_;  // serializes the calls of the device, too
  std::vector<QueueSetup> queues_ GUARDED_BY(mutex_);
  std::shared_ptr<CoreInterrupt> interrupt_ GUARDED_BY(mutex_);  // from activation to reset
  bool active_ GUARDED_BY(mutex_) = false;                       // the device has accepted the activation
  uint32_t status_ GUARDED_BY(mutex_) = 0;
  uint64_t driver_features_ GUARDED_BY(mutex_) = 0;
};

}  // namespace nacre::virtio
