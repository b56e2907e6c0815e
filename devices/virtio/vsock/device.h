// SPDX-License-Identifier: Apache-2.0
// virtio-vsock (virtio 1.3, 5.10) in user space: stream sockets between the guest and unix sockets, pipes or files of
// the host.
//
// This is how the files of this folder belong together, from the guest's queues to the host's descriptors:
//   device.h         the queues: takes packets from the guest, and gives the muxer room for packets to the guest
//   rx_ring.h        the guest's receive buffers
//   muxer.h          all connections: which packet belongs to which, whose turn it is, who may connect to what
//   connection.h     one connection as the protocol sees it: state, credit, what is due to the guest; pure logic
//   stream.h         a connection joined to a descriptor of the host, with a buffer (byte_ring.h) in between
//   host_end.h       the descriptor, read and written without blocking
//   listener.h       the host's clients and their protocol; status_channel.h tells them how far their bytes have come
//   wire.h           what is on the queues
//   testing/         a guest for tests
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "devices/virtio/device.h"
#include "devices/virtio/vsock/muxer.h"
#include "devices/virtio/vsock/rx_ring.h"
#include "devices/virtio/worker.h"

namespace nacre::virtio {

using VsockOptions = vsock::Muxer::Options;

// A DeviceWorker does all work on the loop's thread. create() and the destructor may be called on that thread, or while
// nobody runs the loop. The loop must outlive the device, and must run while a transport calls the device.
class VsockDevice final : public VirtioDevice, private DeviceWorker::Client {
 public:
  // Makes the device. Also sets SIGPIPE to be ignored in this process unless a handler is set: a pipe without a reader
  // must not end vmm.
  static Result<std::unique_ptr<VsockDevice>> create(EventLoop& loop, VsockOptions options);

  uint32_t type() const override { return vsock::kDeviceType; }
  uint64_t features() const override { return vsock::kFeatureStream; }
  std::span<const uint16_t> queue_max_sizes() const override;
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;
  void pause() override { worker_->pause(); }
  void resume() override;
  // Connections are not saved, since their host ends are descriptors of this process. A restored device has no
  // connections, and tells its driver so by a transport reset event (5.10.6.7). Its listening socket takes clients as
  // before. The guest's listening sockets live on.
  Result<void> save(StateWriter& state) override;
  Result<void> restore(StateReader& state) override;

  // Ends all connections and tells the driver that they are gone, for a guest that goes on from a snapshot (5.10.6.7).
  // Call this on the loop's thread.
  void transport_reset();

  // Returns the number of streams, including those that only finish writing. Call this on the loop's thread.
  size_t stream_count() const { return muxer_->stream_count(); }

 private:
  // What restore() keeps for started().
  struct Saved {
    std::vector<uint16_t> held;  // receive buffers, by the heads of their chains
  };

  explicit VsockDevice(uint64_t guest_cid) : guest_cid_(guest_cid) {}
  // Of DeviceWorker::Client.
  Result<void> started() override;
  Result<bool> turn() override;
  void broken() override;
  void stopped() override;

  Result<bool> receive(int budget);
  Result<void> send_event();

  const uint64_t guest_cid_;
  std::unique_ptr<vsock::Muxer> muxer_;
  std::optional<vsock::RxRing> rx_;  // while the device is active
  bool tx_notifications_ = true;     // whether they are on, as they are from the start
  bool event_due_ = false;           // the driver is to be told of a transport reset
  std::optional<Saved> saved_;
  std::unique_ptr<DeviceWorker> worker_;  // must end first
};

}  // namespace nacre::virtio
