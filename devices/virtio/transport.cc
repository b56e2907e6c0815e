// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/transport.h"

#include <algorithm>
#include <string>

#include "devices/virtio/features.h"

namespace nacre::virtio {

namespace {

constexpr uint64_t kTransportFeatures = kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx;
constexpr uint16_t kTransportStateVersion = 1;
constexpr size_t kSavedQueueSize = 2 + 3 * 8 + 1;

void set_half(GuestAddress& address, TransportCore::Half half, uint32_t value) {
  if (half == TransportCore::Half::low) {
    address.value = (address.value & 0xffffffff00000000) | value;
  } else {
    address.value = (address.value & 0xffffffff) | static_cast<uint64_t>(value) << 32;
  }
}

}  // namespace

// One activation's Interrupt. A device may keep it for longer than the activation, or the transport, lasts: after
// detach() it does nothing.
class TransportCore::CoreInterrupt final : public Interrupt {
 public:
  explicit CoreInterrupt(TransportCore& core) : core_(&core) {}

  void queue_used(uint16_t queue) override {
    MutexLock lock(mutex_);
    if (core_ != nullptr) core_->sink_.queue_used(queue);
  }
  void config_changed() override {
    MutexLock lock(mutex_);
    if (core_ == nullptr) return;
    core_->generation_++;
    core_->sink_.config_changed();
  }
  void device_broken() override {
    MutexLock lock(mutex_);
    if (core_ == nullptr) return;
    core_->needs_reset_ = true;
    core_->sink_.config_changed();
  }
  void detach() {
    MutexLock lock(mutex_);
    core_ = nullptr;
  }

 private:
  Mutex mutex_;
  TransportCore* core_ GUARDED_BY(mutex_);
};

Result<std::unique_ptr<TransportCore>> TransportCore::create(VirtioDevice& device, const GuestMemory& memory,
                                                             InterruptSink& sink) {
  std::unique_ptr<TransportCore> core(new TransportCore(device, memory, sink));
  for (size_t i = 0; i < device.queue_max_sizes().size(); i++) core->kicks_.push_back(TRY(make_eventfd()));
  MutexLock lock(core->mutex_);
  core->queues_.resize(core->kicks_.size());
  return core;
}

TransportCore::~TransportCore() {
  MutexLock lock(mutex_);
  reset();
}

void TransportCore::notify(uint32_t queue) {
  if (queue < kicks_.size()) signal_eventfd(kicks_[queue].get());
}

uint32_t TransportCore::status() {
  MutexLock lock(mutex_);
  return status_ | (needs_reset_ ? kStatusNeedsReset : 0);
}

void TransportCore::write_status(uint32_t value) {
  MutexLock lock(mutex_);
  if (value == 0) return reset();
  if (status_ & ~value) return warn("driver clears bits of its status");
  uint32_t added = value & ~status_;
  status_ |= added & (kStatusAcknowledge | kStatusFailed);
  if (status_ & kStatusFailed) return;
  if (added & kStatusDriver && status_ & kStatusAcknowledge) status_ |= kStatusDriver;
  if (added & kStatusFeaturesOk && status_ & kStatusDriver && are_features_acceptable()) status_ |= kStatusFeaturesOk;
  if (added & kStatusDriverOk && status_ & kStatusFeaturesOk && !needs_reset_) {
    status_ |= kStatusDriverOk;
    activate();
  }
}

uint64_t TransportCore::offered_features() const {
  return device_.features() | kTransportFeatures;
}

bool TransportCore::are_features_acceptable() const {
  return (driver_features_ & ~offered_features()) == 0 && (driver_features_ & kFeatureVersion1) != 0;
}

uint32_t TransportCore::device_features(uint32_t word) {
  MutexLock lock(mutex_);
  return word > 1 ? 0 : static_cast<uint32_t>(offered_features() >> (32 * word));
}

void TransportCore::write_driver_features(uint32_t word, uint32_t value) {
  MutexLock lock(mutex_);
  if (status_ & (kStatusFeaturesOk | kStatusFailed) || word > 1) return;
  unsigned shift = 32 * word;
  driver_features_ = (driver_features_ & ~(0xffffffffull << shift)) | static_cast<uint64_t>(value) << shift;
}

uint16_t TransportCore::queue_max_size(uint32_t queue) {
  MutexLock lock(mutex_);
  return queue < queues_.size() ? device_.queue_max_sizes()[queue] : 0;
}

bool TransportCore::is_queue_ready(uint32_t queue) {
  MutexLock lock(mutex_);
  return queue < queues_.size() && queues_[queue].ready;
}

TransportCore::QueueSetup* TransportCore::changeable(uint32_t queue) {
  if (queue >= queues_.size() || status_ & (kStatusDriverOk | kStatusFailed)) return nullptr;
  return &queues_[queue];
}

void TransportCore::set_queue_size(uint32_t queue, uint32_t size) {
  MutexLock lock(mutex_);
  QueueSetup* setup = changeable(queue);
  if (setup == nullptr || setup->ready) return;
  // What does not fit 16 bits must not become a small size by truncation.
  setup->config.size = size <= UINT16_MAX ? static_cast<uint16_t>(size) : 0;
}

void TransportCore::set_queue_address(uint32_t queue, QueuePart part, Half half, uint32_t value) {
  MutexLock lock(mutex_);
  QueueSetup* setup = changeable(queue);
  if (setup == nullptr || setup->ready) return;
  switch (part) {
    case QueuePart::descriptors:
      return set_half(setup->config.descriptors, half, value);
    case QueuePart::driver_ring:
      return set_half(setup->config.driver_ring, half, value);
    case QueuePart::device_ring:
      return set_half(setup->config.device_ring, half, value);
  }
}

void TransportCore::set_queue_ready(uint32_t queue, bool ready) {
  MutexLock lock(mutex_);
  QueueSetup* setup = changeable(queue);
  if (setup == nullptr) return;
  setup->ready = false;
  // Before FEATURES_OK it is not known what the rings look like.
  if (!ready || !(status_ & kStatusFeaturesOk)) return;
  auto usable = check_queue(queue);
  setup->ready = usable.has_value();
  if (usable) return;
  warn("queue " + std::to_string(queue) + ": " + usable.error().message());
  needs_reset_ = true;  // 2.1.2; a notification comes only after DRIVER_OK
}

Result<void> TransportCore::check_queue(size_t index) const {
  const QueueConfig& config = queues_[index].config;
  if (config.size > device_.queue_max_sizes()[index]) return fail("virtqueue: larger than the device allows");
  TRY(Queue::create(memory_, config, driver_features_));
  return {};
}

void TransportCore::read_config(uint64_t offset, std::span<std::byte> data) {
  MutexLock lock(mutex_);
  device_.read_config(offset, data);
}

void TransportCore::write_config(uint64_t offset, std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  if (status_ & kStatusDriver) device_.write_config(offset, data);
}

void TransportCore::activate() {
  auto started = start_device();
  if (started) return;
  warn(started.error().message());
  interrupt_->device_broken();
}

Result<void> TransportCore::start_device() {
  interrupt_ = std::make_shared<CoreInterrupt>(*this);
  Activation activation{driver_features_, {}, interrupt_};
  for (size_t i = 0; i < queues_.size(); i++) {
    Queue ring = Queue::absent();
    if (queues_[i].ready) ring = TRY(Queue::create(memory_, queues_[i].config, driver_features_));
    activation.queues.push_back({std::move(ring), kicks_[i].get()});
  }
  TRY(device_.activate(std::move(activation)));
  active_ = true;
  return {};
}

void TransportCore::reset() {
  // First silence, then the device, which returns when its threads have let go of queues, kicks and guest memory.
  if (interrupt_) interrupt_->detach();
  device_.reset();
  interrupt_.reset();
  active_ = false;
  for (const Fd& kick : kicks_) drain_eventfd(kick.get());
  std::ranges::fill(queues_, QueueSetup{});
  sink_.clear();
  needs_reset_ = false;
  status_ = 0;
  driver_features_ = 0;
}

void TransportCore::warn(std::string_view what) {
  log_.warn("virtio device type " + std::to_string(device_.type()) + ": " + std::string(what));
}

void TransportCore::pause() {
  MutexLock lock(mutex_);
  device_.pause();
}

void TransportCore::resume() {
  MutexLock lock(mutex_);
  device_.resume();
}

Result<void> TransportCore::save(StateWriter& state) {
  MutexLock lock(mutex_);
  return state.section("transport", kTransportStateVersion, [&]() -> Result<void> {
    mutex_.assert_held();
    state.u32(device_.type());
    state.u32(status_);
    state.boolean(needs_reset_);
    state.u32(generation_);
    state.u64(driver_features_);
    state.boolean(active_);
    // The device first: it may bring the memory that its queues lie in.
    TRY(state.section("device", kTransportStateVersion, [&] { return device_.save(state); }));
    state.count(queues_.size());
    for (const QueueSetup& queue : queues_) {
      state.u16(queue.config.size);
      state.u64(queue.config.descriptors.value);
      state.u64(queue.config.driver_ring.value);
      state.u64(queue.config.device_ring.value);
      state.boolean(queue.ready);
    }
    return {};
  });
}

Result<void> TransportCore::restore(StateReader& state) {
  MutexLock lock(mutex_);
  if (status_ != 0) return fail("virtio: a driver has the device that a state is restored to", EBUSY);
  auto restored = restore_fields(state);
  if (!restored) reset();
  return restored;
}

Result<void> TransportCore::restore_fields(StateReader& state) {
  StateReader fields = TRY(state.section("transport", kTransportStateVersion));
  if (TRY(fields.u32()) != device_.type()) return fields.invalid("it is of another type of device");
  status_ = TRY(fields.u32());
  needs_reset_ = TRY(fields.boolean());
  generation_ = TRY(fields.u32());
  driver_features_ = TRY(fields.u64());
  bool was_active = TRY(fields.boolean());
  if (auto checked = check_restored_status(); !checked) return fields.invalid(checked.error().message());
  if (was_active && !(status_ & kStatusDriverOk)) return fields.invalid("a device at work without a driver");
  StateReader device = TRY(fields.section("device", kTransportStateVersion));
  TRY(device_.restore(device));
  TRY(device.end());
  TRY(restore_queues(fields));
  TRY(fields.end());
  if (was_active) return start_device();
  // A device that refused its activation, or a driver that is not that far.
  if (status_ & kStatusDriverOk && !needs_reset_) return fields.invalid("a driver without a device at work");
  return {};
}

// What write_status() can have led to, and nothing else.
Result<void> TransportCore::check_restored_status() const {
  constexpr uint32_t kKnown = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk | kStatusFailed;
  auto needs = [status = status_](uint32_t bit, uint32_t before) {
    return !(status & bit) || (status & before) == before;
  };
  bool in_order = needs(kStatusDriver, kStatusAcknowledge) && needs(kStatusFeaturesOk, kStatusDriver) &&
                  needs(kStatusDriverOk, kStatusFeaturesOk);
  if (status_ & ~kKnown || !in_order) return fail("a status that no driver can set");
  if (status_ & kStatusFeaturesOk && !are_features_acceptable()) return fail("features that are not on offer");
  return {};
}

Result<void> TransportCore::restore_queues(StateReader& state) {
  if (TRY(state.count(queues_.size(), kSavedQueueSize)) != queues_.size()) {
    return state.invalid("another number of queues");
  }
  for (size_t i = 0; i < queues_.size(); i++) {
    QueueConfig& config = queues_[i].config;
    config.size = TRY(state.u16());
    config.descriptors.value = TRY(state.u64());
    config.driver_ring.value = TRY(state.u64());
    config.device_ring.value = TRY(state.u64());
    bool ready = TRY(state.boolean());
    if (!ready) continue;
    if (!(status_ & kStatusFeaturesOk)) return state.invalid("a queue that is ready before its features are known");
    TRY(check_queue(i));
    queues_[i].ready = true;
  }
  return {};
}

}  // namespace nacre::virtio
