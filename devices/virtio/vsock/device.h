// virtio-vsock (virtio 1.3, 5.10) without a kernel's help: stream sockets between the guest and unix sockets, pipes or
// files of the host. The host's side of the protocol: listener.h, status_channel.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "devices/virtio/device.h"
#include "devices/virtio/vsock/muxer.h"
#include "devices/virtio/vsock/rx_ring.h"

namespace nacre::virtio {

using VsockOptions = vsock::Muxer::Options;

// All work is done on the loop's thread. create() and the destructor are for that thread, or while nobody runs the
// loop; it must outlive the device, and run while a transport activates or resets the device.
class VsockDevice final : public VirtioDevice {
 public:
  // Ignores SIGPIPE for the process where its action is the default one: a pipe whose reader has gone must not end it.
  static Result<std::unique_ptr<VsockDevice>> create(EventLoop& loop, VsockOptions options);
  ~VsockDevice() override;

  uint32_t type() const override { return vsock::kDeviceType; }
  uint64_t features() const override { return vsock::kFeatureStream; }
  std::span<const uint16_t> queue_max_sizes() const override;
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;

  // For a guest that goes on from a snapshot (5.10.6.7): ends all connections and tells the driver that they are gone.
  // On the loop's thread.
  void transport_reset();

  // Streams that exist, those included that only finish writing. On the loop's thread.
  size_t stream_count() const { return muxer_->stream_count(); }

 private:
  struct Active;

  VsockDevice(EventLoop& loop, uint64_t guest_cid);
  Result<void> start(Activation activation);
  void stop();
  Result<void> watch(int kick);
  void wake();
  void turn();
  bool receive(int budget);
  void send_event();
  void fail_queues();

  EventLoop& loop_;
  const uint64_t guest_cid_;
  Fd again_;  // an eventfd: more work is left for the loop's next round
  std::unique_ptr<vsock::Muxer> muxer_;
  std::unique_ptr<Active> active_;  // between activate() and reset()
  bool in_turn_ = false;
};

}  // namespace nacre::virtio
