// SPDX-License-Identifier: Apache-2.0
// virtio-net (virtio 1.3, 5.1): a network card of the guest, with one pair of queues.
//
// This is how the files of this folder belong together:
//   device.h         the queues and the backend's descriptor on one event loop; configuration, reset, saved state
//   transmitter.h    frames of the driver, on their way to the backend
//   receiver.h       frames of the backend, on their way to the driver; rx_buffers.h has the driver's buffers
//   headers.h        the header before each frame, checked in both directions
//   backend.h        what a network has to offer; tap.h is one
//   wire.h           what is on the queues
//   testing/         a backend for tests
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "devices/virtio/device.h"
#include "devices/virtio/net/backend.h"
#include "devices/virtio/net/counters.h"
#include "devices/virtio/net/receiver.h"
#include "devices/virtio/net/transmitter.h"
#include "devices/virtio/worker.h"

namespace nacre::virtio {

struct NetOptions {
  std::unique_ptr<net::Backend> backend;
  net::MacAddress mac{};  // of one station
};

// A DeviceWorker does all work on the loop's thread. create() may be called on that thread, or while nobody runs the
// loop. The loop must outlive the device, and must run while a transport calls the device and when the device ends.
class NetDevice final : public VirtioDevice, private DeviceWorker::Client {
 public:
  static constexpr uint16_t kQueueSizes[] = {256, 256};  // receive, transmit

  static Result<std::unique_ptr<NetDevice>> create(EventLoop& loop, NetOptions options);
  ~NetDevice() override;

  uint32_t type() const override { return net::kDeviceType; }
  uint64_t features() const override;
  std::span<const uint16_t> queue_max_sizes() const override { return kQueueSizes; }
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;
  void pause() override;
  void resume() override;
  // Saves the address and the driver's buffers. A restored device has the saved address, since the driver has read it.
  // Frames that the device has in its hands when it is saved may be lost, as on any network.
  Result<void> save(StateWriter& state) override;
  Result<void> restore(StateReader& state) override;

  // Any thread may call these.
  const net::Counters& received() const { return received_; }
  const net::Counters& transmitted() const { return transmitted_; }

 private:
  // What restore() keeps for started().
  struct Saved {
    std::vector<uint16_t> receive;  // held chains, by their heads
    std::optional<uint16_t> transmit;
  };

  NetDevice(EventLoop& loop, NetOptions options)
      : loop_(loop), backend_(std::move(options.backend)), mac_(options.mac) {}
  // Of DeviceWorker::Client.
  Result<void> started() override;
  Result<bool> turn() override;
  void broken() override { watch(0); }
  void stopped() override;

  void on_backend(uint32_t events);
  void watch(uint32_t events);
  void lose_link();
  void announce_link();

  EventLoop& loop_;
  const std::unique_ptr<net::Backend> backend_;
  net::MacAddress mac_;
  net::Counters received_, transmitted_;
  std::atomic<bool> link_up_ = true;  // vCPU threads read this in the configuration space

  // Of the loop's thread.
  bool link_change_due_ = false;           // the driver is to be told
  uint32_t watched_ = 0;                   // for which events the loop watches the backend
  bool readable_ = false;                  // the backend may have frames
  std::optional<net::Receiver> receiver_;  // while the device is active
  std::optional<net::Transmitter> transmitter_;
  std::optional<Saved> saved_;
  std::unique_ptr<DeviceWorker> worker_;  // must end first
};

}  // namespace nacre::virtio
