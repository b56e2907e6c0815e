// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/device.h"

#include <algorithm>
#include <array>

#include "devices/virtio/config_space.h"

namespace nacre::virtio {

namespace {

enum NetQueue : uint16_t { kReceive, kTransmit, kNetQueueCount };

// The number of frames of one turn, in each direction, so that neither direction waits long for the other.
constexpr size_t kNetBudget = 64;

constexpr uint16_t kNetStateVersion = 1;

constexpr uint8_t kGroupBit = 1;  // in the first byte of an address: it is that of many stations

bool is_station(const net::MacAddress& mac) {
  return (mac[0] & kGroupBit) == 0 && mac != net::MacAddress{};
}

}  // namespace

Result<std::unique_ptr<NetDevice>> NetDevice::create(EventLoop& loop, NetOptions options) {
  if (!is_station(options.mac)) return fail("virtio-net: not the address of one station", EINVAL);
  std::unique_ptr<NetDevice> device(new NetDevice(loop, std::move(options)));
  device->worker_ = TRY(DeviceWorker::create(loop, "virtio-net", *device));
  TRY(loop.add(device->backend_->fd(), 0, [device = device.get()](uint32_t events) { device->on_backend(events); }));
  return device;
}

NetDevice::~NetDevice() {
  loop_.post_and_wait([this] {
    worker_.reset();
    loop_.remove(backend_->fd());
  });
}

uint64_t NetDevice::features() const {
  return net::kFeatureMac | net::kFeatureStatus | net::kFeatureMrgRxbuf | backend_->offloads();
}

void NetDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  net::Config config{.mac = mac_, .status = link_up_ ? net::kStatusLinkUp : uint16_t{0}};
  read_config_space(config, offset, data);
}

Result<void> NetDevice::activate(Activation activation) {
  if (activation.queues.size() != kNetQueueCount) return fail("virtio-net: bad activation");
  return worker_->activate(std::move(activation));
}

void NetDevice::reset() {
  loop_.post_and_wait([this] {
    worker_->reset();
    // An activation that failed has left them.
    receiver_.reset();
    transmitter_.reset();
  });
  saved_.reset();
}

void NetDevice::pause() {
  worker_->pause();
  // What the backend has for a paused device waits there. It would wake the loop again and again.
  loop_.post_and_wait([this] { watch(0); });
}

void NetDevice::resume() {
  loop_.post_and_wait([this] {
    worker_->resume();
    announce_link();
  });
  saved_.reset();
}

Result<void> NetDevice::started() {
  uint64_t features = worker_->features();
  TRY(backend_->accept(features & backend_->offloads()));
  receiver_.emplace(worker_->queue(kReceive), *backend_, features, received_);
  transmitter_.emplace(worker_->queue(kTransmit), *backend_, features, transmitted_);
  readable_ = true;  // whatever has come meanwhile
  link_change_due_ = false;
  if (!saved_) return {};
  Saved saved = *std::exchange(saved_, std::nullopt);
  if (worker_->is_broken()) return {};
  link_change_due_ = !link_up_;  // the driver knows of a link that was up
  TRY(receiver_->hold_again(saved.receive));
  return transmitter_->hold_again(saved.transmit);
}

void NetDevice::stopped() {
  watch(0);
  receiver_.reset();
  transmitter_.reset();
}

Result<bool> NetDevice::turn() {
  bool more = TRY(transmitter_->transmit(kNetBudget));
  auto outcome = net::Receiver::Outcome::drained;
  if (link_up_ && (readable_ || receiver_->is_waiting())) {
    outcome = TRY(receiver_->receive(kNetBudget));
    if (outcome == net::Receiver::Outcome::drained) readable_ = false;
    if (outcome == net::Receiver::Outcome::lost) {
      lose_link();
      more = true;
    }
  }
  worker_->signal(kTransmit);
  worker_->signal(kReceive);
  announce_link();
  // Frames for which there are no buffers wait in the backend, and the driver's kick is what continues.
  uint32_t events = outcome == net::Receiver::Outcome::starved ? 0u : uint32_t{EPOLLIN};
  watch(events | (transmitter_->is_blocked() ? uint32_t{EPOLLOUT} : 0u));
  return more || outcome == net::Receiver::Outcome::budget;
}

void NetDevice::on_backend(uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) lose_link();
  if (events & EPOLLIN) readable_ = true;
  if (!worker_->is_running()) return;
  if (events & EPOLLOUT) transmitter_->unblock();
  worker_->wake();
}

// Lets the loop watch the backend for these events, and for the end of its network in any case.
void NetDevice::watch(uint32_t events) {
  if (!link_up_ || std::exchange(watched_, events) == events) return;
  (void)loop_.modify(backend_->fd(), events);
}

// The network is gone for good. Frames of the driver are dropped from now on.
void NetDevice::lose_link() {
  if (!link_up_.exchange(false)) return;
  loop_.remove(backend_->fd());
  link_change_due_ = true;
  if (transmitter_) transmitter_->unblock();
}

void NetDevice::announce_link() {
  if (worker_->is_running() && std::exchange(link_change_due_, false)) worker_->interrupt().config_changed();
}

Result<void> NetDevice::save(StateWriter& state) {
  return state.section("virtio-net", kNetStateVersion, [&]() -> Result<void> {
    for (uint8_t byte : mac_) state.u8(byte);
    bool held = receiver_ && !worker_->is_broken();
    auto receive = held ? receiver_->held() : std::vector<uint16_t>{};
    state.count(receive.size());
    for (uint16_t head : receive) state.u16(head);
    auto transmit = held ? transmitter_->held() : std::nullopt;
    state.boolean(transmit.has_value());
    state.u16(transmit.value_or(0));
    worker_->save(state);
    return {};
  });
}

Result<void> NetDevice::restore(StateReader& state) {
  StateReader fields = TRY(state.section("virtio-net", kNetStateVersion));
  net::MacAddress mac;
  for (uint8_t& byte : mac) byte = TRY(fields.u8());
  if (!is_station(mac)) return fields.invalid("not the address of one station");
  Saved saved;
  uint32_t receive = TRY(fields.count(kQueueSizes[kReceive], sizeof(uint16_t)));
  for (uint32_t i = 0; i < receive; i++) saved.receive.push_back(TRY(fields.u16()));
  bool transmit = TRY(fields.boolean());
  uint16_t head = TRY(fields.u16());
  if (transmit) saved.transmit = head;
  TRY(worker_->restore(fields));
  TRY(fields.end());
  mac_ = mac;
  saved_ = std::move(saved);
  return {};
}

}  // namespace nacre::virtio
