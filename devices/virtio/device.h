// SPDX-License-Identifier: Apache-2.0
// A virtio device as a transport sees it (virtio 1.3, section 2), whatever the transport.
//
// How the files of this folder belong together:
//   device.h       this interface: what each kind of device implements
//   transport.h    what all transports do: status, features, set-up of queues, activation, reset, saved state
//   mmio.h         the registers of virtio-mmio, a decoder on top of transport.h
//   queue.h        a split virtqueue: the descriptors that the driver offers, checked
//   chain.h        one request of a queue, as bytes to read and bytes to write
//   worker.h       the thread's side of a device: kicks, budget, turns, a driver that breaks the rules, pause
//   fs/ mem/ net/ vsock/   the devices; testing/ a driver for tests
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/state.h"
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

// The states of a device:
//
//                        activate()
//            created  ----------------->  active           running
//             |   ^  <-----------------   |   ^
//             |   |        reset()        |   |
//     pause() |   | resume()      pause() |   | resume()
//             v   |                       v   |
//            created  <-----------------  active           paused: save(); restore() while created
//                          reset()
//                    ----------------->
//                        activate()
//
// A driver that breaks the rules of a queue leaves the device active and idle: it touches no queue until reset().
//
// A paused device does not access guest memory or its queues. What happens meanwhile is not lost: kicks and host events
// have their effect after resume(). A saved device goes on in a new one, over the same content of guest memory:
//
//   old: pause(), save()      new: pause(), restore(), activate() if the old one was active, resume()
//
// restore() comes before activate(), since a device may bring the memory that queues lie in (virtio-mem, which is
// restored before other devices). It keeps the positions of the queues for activate(), which fails if the queues do not
// fit them.
//
// Threads: the transport calls every function on a vCPU's thread or on the thread that saves, one at a time (it holds
// its lock). A device that works on another thread hands the activation over to it, and reset() and pause() return
// only when that thread has let go of the queues and guest memory; after reset() also of the kick descriptors.
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

  virtual void pause() = 0;
  virtual void resume() = 0;
  // Writes all that a new device needs to go on. Paused devices only.
  virtual Result<void> save(StateWriter& state) = 0;
  // Takes over a saved state, which is hostile input. Created and paused devices only. After an error nothing may
  // follow but reset() and the end of the device.
  virtual Result<void> restore(StateReader& state) = 0;
};

}  // namespace nacre::virtio
