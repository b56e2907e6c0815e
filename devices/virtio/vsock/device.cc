// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/device.h"

#include <signal.h>

#include <array>

#include "devices/virtio/config_space.h"

namespace nacre::virtio {

namespace {

enum QueueIndex { kRx, kTx, kEvent, kQueueCount };
constexpr std::array<uint16_t, kQueueCount> kVsockQueueSizes{256, 256, 16};

// The work of one turn is limited, so that other devices on the loop have their turn. kTransmitBudget limits each of
// the two calls of Muxer::transmit(), in turns of streams. kReceiveBudget limits the packets taken from the guest.
constexpr int kTransmitBudget = 64;
constexpr int kReceiveBudget = 128;

constexpr uint16_t kVsockStateVersion = 1;

void ignore_sigpipe() {
  struct sigaction action;
  if (::sigaction(SIGPIPE, nullptr, &action) < 0 || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace

Result<std::unique_ptr<VsockDevice>> VsockDevice::create(EventLoop& loop, VsockOptions options) {
  // In a CID, the high half is zero. 0 to 2 and all ones in the low half are reserved (5.10.4).
  if (options.guest_cid < 3 || options.guest_cid >= UINT32_MAX) return fail("vsock: not a guest's CID");
  ignore_sigpipe();
  std::unique_ptr<VsockDevice> device(new VsockDevice(options.guest_cid));
  device->worker_ = TRY(DeviceWorker::create(loop, "vsock", *device));
  auto wake = [device = device.get()] { device->worker_->wake(); };
  device->muxer_ = TRY(vsock::Muxer::create(loop, std::move(options), wake));
  return device;
}

std::span<const uint16_t> VsockDevice::queue_max_sizes() const {
  return kVsockQueueSizes;
}

void VsockDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  read_config_space(guest_cid_, offset, data);  // struct virtio_vsock_config
}

Result<void> VsockDevice::activate(Activation activation) {
  if (activation.queues.size() != kQueueCount) return fail("vsock: bad activation");
  return worker_->activate(std::move(activation));
}

void VsockDevice::reset() {
  worker_->reset();
  saved_.reset();
}

void VsockDevice::resume() {
  worker_->resume();
  saved_.reset();
}

Result<void> VsockDevice::started() {
  rx_.emplace(worker_->queue(kRx));
  tx_notifications_ = true;
  event_due_ = false;
  if (!saved_) return {};
  Saved saved = *std::exchange(saved_, std::nullopt);
  if (worker_->is_broken()) return {};
  event_due_ = true;
  if (worker_->queue(kTx).in_flight() != 0 || worker_->queue(kEvent).in_flight() != 0) {
    return fail("vsock: buffers in flight that the device does not keep", EBADMSG);
  }
  return rx_->hold_again(saved.held);
}

void VsockDevice::stopped() {
  rx_.reset();
  muxer_->reset();
}

void VsockDevice::broken() {
  muxer_->reset();
}

// Serves the queues: moves packets to the guest, takes packets from the guest, and moves again what these have caused.
Result<bool> VsockDevice::turn() {
  bool more = muxer_->transmit(*rx_, kTransmitBudget);
  more |= TRY(receive(kReceiveBudget));
  more |= muxer_->transmit(*rx_, kTransmitBudget);
  if (event_due_) TRY(send_event());
  if (rx_->failure()) return std::unexpected(*rx_->failure());
  if (rx_->needs_interrupt()) worker_->interrupt().queue_used(kRx);
  return more;
}

// Takes packets from the guest. Returns whether there may be more.
Result<bool> VsockDevice::receive(int budget) {
  Queue& tx = worker_->queue(kTx);
  // While too many resets wait for receive buffers, this takes no packets. The driver's notification of new receive
  // buffers starts the next turn.
  for (; budget > 0 && !muxer_->is_congested(); budget--) {
    auto chain = TRY(tx.pop());
    if (!chain) {
      if (tx_notifications_) break;
      tx.enable_notifications();
      tx_notifications_ = true;
      continue;  // a packet may have come in between
    }
    if (tx_notifications_) tx.disable_notifications();
    tx_notifications_ = false;
    Reader& reader = chain->reader;
    if (auto header = reader.read_object<vsock::Header>()) muxer_->receive(*header, reader);
    worker_->complete(kTx, *chain, 0);
  }
  worker_->signal(kTx);
  return budget == 0;
}

void VsockDevice::transport_reset() {
  muxer_->reset();
  if (!worker_->is_active()) return;
  event_due_ = true;
  worker_->wake();
}

Result<void> VsockDevice::send_event() {
  size_t sent = TRY(worker_->serve(kEvent, 1, [this](Chain chain) {
    event_due_ = false;
    bool fits = chain.writer.write_object(vsock::Event{vsock::kEventTransportReset}).has_value();
    worker_->complete(kEvent, chain, fits ? sizeof(vsock::Event) : 0);
  }));
  if (sent > 0) worker_->signal(kEvent);
  return {};
}

Result<void> VsockDevice::save(StateWriter& state) {
  return state.section("virtio-vsock", kVsockStateVersion, [&]() -> Result<void> {
    auto held = rx_ && !worker_->is_broken() ? rx_->held() : std::vector<uint16_t>{};
    state.count(held.size());
    for (uint16_t head : held) state.u16(head);
    worker_->save(state);
    return {};
  });
}

Result<void> VsockDevice::restore(StateReader& state) {
  StateReader fields = TRY(state.section("virtio-vsock", kVsockStateVersion));
  Saved saved;
  uint32_t held = TRY(fields.count(kVsockQueueSizes[kRx], sizeof(uint16_t)));
  for (uint32_t i = 0; i < held; i++) saved.held.push_back(TRY(fields.u16()));
  TRY(worker_->restore(fields));
  TRY(fields.end());
  saved_ = std::move(saved);
  return {};
}

}  // namespace nacre::virtio
