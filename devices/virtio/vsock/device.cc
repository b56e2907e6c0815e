#include "devices/virtio/vsock/device.h"

#include <signal.h>

#include <array>

#include "devices/virtio/config_space.h"

namespace nacre::virtio {

namespace {

enum QueueIndex { kRx, kTx, kEvent, kQueueCount };
constexpr std::array<uint16_t, kQueueCount> kQueueSizes{256, 256, 16};

// Packets of one round of the loop, so that other devices have their turn.
constexpr int kTransmitBudget = 64;
constexpr int kReceiveBudget = 128;

void ignore_sigpipe() {
  struct sigaction action;
  if (::sigaction(SIGPIPE, nullptr, &action) < 0 || action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace

struct VsockDevice::Active {
  explicit Active(Activation activation)
      : rx(std::move(activation.queues[kRx].ring)),
        tx(std::move(activation.queues[kTx].ring)),
        event(std::move(activation.queues[kEvent].ring)),
        interrupt(std::move(activation.interrupt)) {}

  vsock::RxRing rx;
  Queue tx;
  Queue event;
  std::vector<int> kicks;  // that the loop watches
  std::shared_ptr<Interrupt> interrupt;
  bool tx_notifications = true;  // asked for, as they are from the start
  bool broken = false;
  bool event_due = false;  // a transport reset is to be told
};

VsockDevice::VsockDevice(EventLoop& loop, uint64_t guest_cid) : loop_(loop), guest_cid_(guest_cid) {}

Result<std::unique_ptr<VsockDevice>> VsockDevice::create(EventLoop& loop, VsockOptions options) {
  // 0 to 2 and all ones in the low half are reserved, the high half is zero (5.10.4).
  if (options.guest_cid < 3 || options.guest_cid >= UINT32_MAX) return fail("vsock: not a guest's CID");
  ignore_sigpipe();
  std::unique_ptr<VsockDevice> device(new VsockDevice(loop, options.guest_cid));
  device->again_ = TRY(make_eventfd());
  TRY(loop.add(device->again_.get(), EPOLLIN, [device = device.get()](uint32_t) {
    drain_eventfd(device->again_.get());
    device->turn();
  }));
  device->muxer_ = TRY(vsock::Muxer::create(loop, std::move(options), [device = device.get()] { device->wake(); }));
  return device;
}

VsockDevice::~VsockDevice() {
  stop();
  if (again_) loop_.remove(again_.get());
}

std::span<const uint16_t> VsockDevice::queue_max_sizes() const {
  return kQueueSizes;
}

void VsockDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  read_config_space(guest_cid_, offset, data);  // struct virtio_vsock_config
}

Result<void> VsockDevice::activate(Activation activation) {
  Result<void> result;
  loop_.post_and_wait([&] { result = start(std::move(activation)); });
  return result;
}

void VsockDevice::reset() {
  loop_.post_and_wait([this] { stop(); });
}

Result<void> VsockDevice::start(Activation activation) {
  if (active_ || activation.queues.size() != kQueueCount) return fail("vsock: bad activation");
  std::array<int, kQueueCount> kicks;
  for (size_t i = 0; i < kQueueCount; i++) kicks[i] = activation.queues[i].kick;
  active_ = std::make_unique<Active>(std::move(activation));
  for (int kick : kicks) {
    if (auto watched = watch(kick); !watched) {
      stop();
      return watched;
    }
  }
  turn();  // what the driver made available before, and clients that wait
  return {};
}

Result<void> VsockDevice::watch(int kick) {
  TRY(loop_.add(kick, EPOLLIN, [this, kick](uint32_t) {
    drain_eventfd(kick);
    turn();
  }));
  active_->kicks.push_back(kick);
  return {};
}

void VsockDevice::stop() {
  if (!active_) return;
  for (int kick : active_->kicks) loop_.remove(kick);
  active_.reset();
  muxer_->reset();
}

void VsockDevice::wake() {
  if (!in_turn_) turn();
}

// One round: what the guest sent, what it is to be sent.
void VsockDevice::turn() {
  if (!active_ || active_->broken) return;
  in_turn_ = true;
  bool more = muxer_->transmit(active_->rx, kTransmitBudget);
  more |= receive(kReceiveBudget);
  more |= muxer_->transmit(active_->rx, kTransmitBudget);
  if (active_->event_due) send_event();
  if (active_->rx.needs_interrupt()) active_->interrupt->queue_used(kRx);
  in_turn_ = false;
  if (active_->broken || active_->rx.broken()) return fail_queues();
  if (more) signal_eventfd(again_.get());
}

// Takes packets from the guest; whether there may be more.
bool VsockDevice::receive(int budget) {
  Queue& tx = active_->tx;
  bool pushed = false;
  // While too many resets wait for receive buffers, the next round begins with a notification of these.
  for (; budget > 0 && !muxer_->congested(); budget--) {
    auto chain = tx.pop();
    if (!chain) {
      active_->broken = true;
      return false;
    }
    if (!*chain) {
      if (active_->tx_notifications) break;
      tx.enable_notifications();
      active_->tx_notifications = true;
      continue;  // one may have come in between
    }
    if (active_->tx_notifications) tx.disable_notifications();
    active_->tx_notifications = false;
    Reader& reader = (*chain)->reader;
    if (auto header = reader.read_object<vsock::Header>()) muxer_->receive(*header, reader);
    if (!tx.push(**chain, 0)) active_->broken = true;
    pushed = true;
  }
  if (pushed && tx.needs_interrupt()) active_->interrupt->queue_used(kTx);
  return budget == 0;
}

void VsockDevice::transport_reset() {
  muxer_->reset();
  if (!active_) return;
  active_->event_due = true;
  turn();
}

void VsockDevice::send_event() {
  auto chain = active_->event.pop();
  if (chain && !*chain) {
    active_->event.enable_notifications();  // which come back here
    chain = active_->event.pop();
  }
  if (!chain) active_->broken = true;
  if (!chain || !*chain) return;
  active_->event_due = false;
  uint32_t written = 0;
  if ((*chain)->writer.write_object(vsock::Event{vsock::kEventTransportReset})) written = sizeof(vsock::Event);
  if (!active_->event.push(**chain, written)) active_->broken = true;
  if (active_->event.needs_interrupt()) active_->interrupt->queue_used(kEvent);
}

// The driver broke the rules of a queue: nothing more is done with any of them until it resets the device.
void VsockDevice::fail_queues() {
  active_->broken = true;
  for (int kick : active_->kicks) loop_.remove(kick);
  active_->kicks.clear();
  active_->interrupt->device_broken();
  muxer_->reset();
}

}  // namespace nacre::virtio
