// A virtio device as a transport sees it (virtio 1.3, section 2), whatever the transport.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/virtio/queue.h"

namespace nacre::virtio {

// How a device signals its driver. Owned by the transport, shared with the device; any thread; after a reset of the
// device its calls do nothing.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  // Sends a used buffer notification (2.3) for the queue with this index.
  virtual void queue_used(uint16_t queue) = 0;
  // Sends a configuration change notification (2.3).
  virtual void config_changed() = 0;
  // Sets DEVICE_NEEDS_RESET and sends a configuration change notification (2.1.2).
  virtual void device_broken() = 0;
};

// One queue of an activated device. `kick` is an eventfd, owned by the transport, that becomes readable when the driver
// notifies this queue; it stays open until reset() has returned.
struct ActiveQueue {
  Queue ring;
  int kick;
};

// What a device gets when its driver sets DRIVER_OK.
struct Activation {
  uint64_t features;                // accepted by the driver
  std::vector<ActiveQueue> queues;  // as many as queue_max_sizes(); those that the driver left out never hold a chain
  std::shared_ptr<Interrupt> interrupt;
};

// Threads: the transport calls every function on a vCPU's thread, one at a time (it holds its lock). A device that
// works on another thread hands the activation over to it, and reset() returns only when that thread has let go of the
// queues, the kick descriptors and guest memory.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;

  virtual uint32_t type() const = 0;      // virtio device ID (virtio 1.3, section 5)
  virtual uint64_t features() const = 0;  // device-specific bits on offer; the transport adds its own
  virtual std::span<const uint16_t> queue_max_sizes() const = 0;

  // Device configuration space; `data` lies wholly or partly beyond its end for a careless driver: fill with zeroes.
  virtual void read_config(uint64_t offset, std::span<std::byte> data) = 0;
  virtual void write_config(uint64_t, std::span<const std::byte>) {}

  virtual Result<void> activate(Activation activation) = 0;
  virtual void reset() = 0;  // also called for a device that was never activated
};

}  // namespace nacre::virtio
