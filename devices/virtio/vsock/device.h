// virtio-vsock (virtio 1.3, 5.10) in user space: stream sockets between the guest and unix sockets, pipes or files of
// the host.
//
// How the files of this folder belong together, from the guest's queues to the host's descriptors:
//   device.h         the queues: takes packets from the guest, gives the muxer room for packets to it
//   rx_ring.h        the guest's receive buffers
//   muxer.h          all connections: which packet belongs to which, whose turn it is, who may connect to what
//   connection.h     one connection as the protocol sees it: state, credit, what is due to the guest. Pure logic.
//   stream.h         a connection joined to a descriptor of the host, with a buffer (byte_ring.h) in between
//   host_end.h       that descriptor, read and written without ever blocking
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

// All work is done on the loop's thread, by a DeviceWorker. create() and the destructor are for that thread, or while
// nobody runs the loop. The loop must outlive the device, and run while a transport calls it.
class VsockDevice final : public VirtioDevice, private DeviceWorker::Client {
 public:
  // Sets SIGPIPE to be ignored in this process, unless somebody handles it: a pipe without a reader must not end vmm.
  static Result<std::unique_ptr<VsockDevice>> create(EventLoop& loop, VsockOptions options);

  uint32_t type() const override { return vsock::kDeviceType; }
  uint64_t features() const override { return vsock::kFeatureStream; }
  std::span<const uint16_t> queue_max_sizes() const override;
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;
  void pause() override { worker_->pause(); }
  void resume() override;
  // Connections are not saved: their host's ends are descriptors of this process. In the device that is restored there
  // are none, its driver is told so by a transport reset event (5.10.6.7), and its listening socket takes clients as
  // before. The guest's listening sockets live on.
  Result<void> save(StateWriter& state) override;
  Result<void> restore(StateReader& state) override;

  // For a guest that goes on from a snapshot (5.10.6.7): ends all connections and tells the driver that they are gone.
  // On the loop's thread.
  void transport_reset();

  // Returns the number of streams, with those that only finish writing. On the loop's thread.
  size_t stream_count() const { return muxer_->stream_count(); }

 private:
  // What restore() keeps for started().
  struct Saved {
    std::vector<uint16_t> held;  // receive buffers, by their heads
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
  bool tx_notifications_ = true;     // asked for, as they are from the start
  bool event_due_ = false;           // a transport reset is to be told
  std::optional<Saved> saved_;
  std::unique_ptr<DeviceWorker> worker_;  // ends first
};

}  // namespace nacre::virtio
