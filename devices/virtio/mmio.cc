#include "devices/virtio/mmio.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "base/log.h"
#include "devices/virtio/features.h"

namespace nacre::virtio {

namespace {

// virtio 1.3, 4.2.2, table 4.1. All registers are 32 bits wide.
enum Register : uint64_t {
  kMagicValue = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSel = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSel = 0x024,
  kQueueSel = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = MmioTransport::kQueueNotifyOffset,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmLenLow = 0x0b0,
  kShmLenHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};

constexpr uint32_t kMagic = 0x74726976;   // "virt"
constexpr uint32_t kVendor = 0x7263616e;  // "nacr"
constexpr uint32_t kNoRegion = 0xffffffff;

// 2.1, device status
constexpr uint32_t kAcknowledge = 1;
constexpr uint32_t kDriver = 2;
constexpr uint32_t kDriverOk = 4;
constexpr uint32_t kFeaturesOk = 8;
constexpr uint32_t kNeedsReset = 64;
constexpr uint32_t kFailed = 128;

// 4.2.2, InterruptStatus
constexpr uint32_t kInterruptUsed = 1;
constexpr uint32_t kInterruptConfig = 2;

constexpr uint64_t kTransportFeatures = kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx;

// What the transport and the device's threads share without the transport's lock.
struct Signals {
  explicit Signals(IrqLine& line) : irq(line) {}

  void raise(uint32_t cause) {
    pending.fetch_or(cause);
    irq.trigger();
  }

  IrqLine& irq;
  std::atomic<uint32_t> pending = 0;  // InterruptStatus
  std::atomic<uint32_t> generation = 0;
  std::atomic<bool> needs_reset = false;
};

// One activation's Interrupt. A device may keep it for longer than the activation, or the transport, lasts: after
// detach() it does nothing.
class MmioInterrupt final : public Interrupt {
 public:
  explicit MmioInterrupt(Signals& signals) : signals_(&signals) {}

  void queue_used(uint16_t) override {
    std::lock_guard lock(mutex_);
    if (signals_ != nullptr) signals_->raise(kInterruptUsed);
  }
  void config_changed() override {
    std::lock_guard lock(mutex_);
    if (signals_ == nullptr) return;
    signals_->generation++;
    signals_->raise(kInterruptConfig);
  }
  void device_broken() override {
    std::lock_guard lock(mutex_);
    if (signals_ == nullptr) return;
    signals_->needs_reset = true;
    signals_->raise(kInterruptConfig);
  }
  void detach() {
    std::lock_guard lock(mutex_);
    signals_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Signals* signals_;
};

void set_low(GuestAddress& address, uint32_t value) {
  address.value = (address.value & 0xffffffff00000000) | value;
}

void set_high(GuestAddress& address, uint32_t value) {
  address.value = (address.value & 0xffffffff) | static_cast<uint64_t>(value) << 32;
}

// The half of a 64-bit feature word that a Sel register chooses; there are no bits past 63 yet.
uint32_t half(uint64_t features, uint32_t select) {
  return select > 1 ? 0 : static_cast<uint32_t>(features >> (32 * select));
}

}  // namespace

struct MmioTransport::State {
  struct QueueSetup {
    QueueConfig config;
    bool ready = false;
  };

  State(VirtioDevice& virtio_device, const GuestMemory& guest_memory, IrqLine& irq)
      : device(virtio_device), memory(guest_memory), signals(irq) {}

  uint32_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint32_t value);
  void write_queue_register(uint64_t offset, uint32_t value);
  void set_queue_ready(QueueSetup& queue, bool ready);
  void notify(uint32_t index);
  void write_status(uint32_t value);
  bool features_acceptable() const;
  void activate();
  void reset();

  uint32_t read_status() const { return status | (signals.needs_reset ? kNeedsReset : 0); }
  uint64_t offered() const { return device.features() | kTransportFeatures; }
  QueueSetup* selected() { return queue_select < queues.size() ? &queues[queue_select] : nullptr; }

  VirtioDevice& device;
  const GuestMemory& memory;
  Signals signals;
  std::vector<Fd> kicks;  // never changes: read without the lock
  LogLimiter log_limiter;

  std::mutex mutex;  // guards what follows, and serializes the calls of the device
  std::vector<QueueSetup> queues;
  std::shared_ptr<MmioInterrupt> interrupt;
  uint32_t status = 0;
  uint32_t device_features_select = 0;
  uint32_t driver_features_select = 0;
  uint64_t driver_features = 0;
  uint32_t queue_select = 0;
};

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(VirtioDevice& device, const GuestMemory& memory,
                                                             IrqLine& irq) {
  auto state = std::make_unique<State>(device, memory, irq);
  for (size_t i = 0; i < device.queue_max_sizes().size(); i++) state->kicks.push_back(TRY(make_eventfd()));
  state->queues.resize(state->kicks.size());
  return std::unique_ptr<MmioTransport>(new MmioTransport(std::move(state)));
}

MmioTransport::MmioTransport(std::unique_ptr<State> state) : state_(std::move(state)) {}

MmioTransport::~MmioTransport() {
  std::lock_guard lock(state_->mutex);
  state_->reset();
}

size_t MmioTransport::queue_count() const {
  return state_->kicks.size();
}

int MmioTransport::queue_event(size_t index) const {
  return state_->kicks.at(index).get();
}

void MmioTransport::read(uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
  if (offset >= kConfig) {
    std::lock_guard lock(state_->mutex);
    state_->device.read_config(offset - kConfig, data);
    return;
  }
  // 4.2.2.2: control registers are accessed by aligned 32-bit words only.
  if (data.size() != sizeof(uint32_t) || offset % sizeof(uint32_t) != 0) return;
  uint32_t value;
  if (offset == kInterruptStatus) {
    value = state_->signals.pending;  // in every interrupt: without the lock
  } else {
    std::lock_guard lock(state_->mutex);
    value = state_->read_register(offset);
  }
  std::memcpy(data.data(), &value, sizeof(value));
}

void MmioTransport::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset >= kConfig) {
    std::lock_guard lock(state_->mutex);
    if (state_->status & kDriver) state_->device.write_config(offset - kConfig, data);
    return;
  }
  if (data.size() != sizeof(uint32_t) || offset % sizeof(uint32_t) != 0) return;
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof(value));
  // The two of the data path go without the lock, which a reset of the device may hold for long.
  if (offset == kQueueNotify) return state_->notify(value);
  if (offset == kInterruptAck) {
    state_->signals.pending.fetch_and(~value);
    return;
  }
  std::lock_guard lock(state_->mutex);
  state_->write_register(offset, value);
}

uint32_t MmioTransport::State::read_register(uint64_t offset) {
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return 2;
    case kDeviceId:
      return device.type();
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return half(offered(), device_features_select);
    case kQueueSizeMax:
      return selected() ? device.queue_max_sizes()[queue_select] : 0;
    case kQueueReady:
      return selected() ? selected()->ready : 0;
    case kStatus:
      return read_status();
    case kShmLenLow:
    case kShmLenHigh:
    case kShmBaseLow:
    case kShmBaseHigh:
      return kNoRegion;  // 4.2.2: length -1 says that the region does not exist
    case kConfigGeneration:
      return signals.generation;
    default:
      return 0;
  }
}

void MmioTransport::State::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSel:
      device_features_select = value;
      break;
    case kDriverFeaturesSel:
      driver_features_select = value;
      break;
    case kDriverFeatures: {
      // 3.1.1: what was agreed at FEATURES_OK stays.
      if (status & (kFeaturesOk | kFailed) || driver_features_select > 1) break;
      unsigned shift = 32 * driver_features_select;
      driver_features = (driver_features & ~(0xffffffffull << shift)) | static_cast<uint64_t>(value) << shift;
      break;
    }
    case kQueueSel:
      queue_select = value;
      break;
    case kStatus:
      write_status(value);
      break;
    default:
      write_queue_register(offset, value);
  }
}

void MmioTransport::State::write_queue_register(uint64_t offset, uint32_t value) {
  QueueSetup* queue = selected();
  // Frozen from DRIVER_OK until reset: a queue in use never sees its addresses or size change.
  if (queue == nullptr || status & (kDriverOk | kFailed)) return;
  if (offset == kQueueReady) return set_queue_ready(*queue, value & 1);
  if (queue->ready) return;  // 4.2.2.2
  switch (offset) {
    case kQueueSize:
      // What does not fit 16 bits must not become a small size by truncation.
      queue->config.size = value <= UINT16_MAX ? static_cast<uint16_t>(value) : 0;
      break;
    case kQueueDescLow:
      set_low(queue->config.descriptors, value);
      break;
    case kQueueDescHigh:
      set_high(queue->config.descriptors, value);
      break;
    case kQueueDriverLow:
      set_low(queue->config.driver_ring, value);
      break;
    case kQueueDriverHigh:
      set_high(queue->config.driver_ring, value);
      break;
    case kQueueDeviceLow:
      set_low(queue->config.device_ring, value);
      break;
    case kQueueDeviceHigh:
      set_high(queue->config.device_ring, value);
      break;
    default:
      break;
  }
}

void MmioTransport::State::set_queue_ready(QueueSetup& queue, bool ready) {
  queue.ready = false;
  // Before FEATURES_OK it is not known what the rings look like.
  if (!ready || !(status & kFeaturesOk)) return;
  auto index = static_cast<size_t>(&queue - queues.data());
  Result<void> usable;
  if (queue.config.size > device.queue_max_sizes()[index]) {
    usable = fail("virtqueue: larger than the device allows");
  } else if (auto made = Queue::create(memory, queue.config, driver_features); !made) {
    usable = std::unexpected(made.error());
  }
  if (usable) {
    queue.ready = true;
    return;
  }
  log_limiter.warn("virtio device type " + std::to_string(device.type()) + ", queue " + std::to_string(index) + ": " +
                   usable.error().message());
  signals.needs_reset = true;  // 2.1.2; a notification comes only after DRIVER_OK
}

void MmioTransport::State::notify(uint32_t index) {
  if (index >= kicks.size()) return;
  signal_eventfd(kicks[index].get());
}

// 2.1 and 3.1.1: bits are set one after the other, never cleared but by writing 0. A bit that comes too early, or that
// the device cannot agree to, stays clear, which is what the driver looks at.
void MmioTransport::State::write_status(uint32_t value) {
  if (value == 0) return reset();
  if (status & ~value) {
    log_limiter.warn("virtio device type " + std::to_string(device.type()) + ": driver clears bits of its status");
    return;
  }
  uint32_t added = value & ~status;
  status |= added & (kAcknowledge | kFailed);
  if (status & kFailed) return;
  if (added & kDriver && status & kAcknowledge) status |= kDriver;
  if (added & kFeaturesOk && status & kDriver && features_acceptable()) status |= kFeaturesOk;
  if (added & kDriverOk && status & kFeaturesOk && !signals.needs_reset) {
    status |= kDriverOk;
    activate();
  }
}

bool MmioTransport::State::features_acceptable() const {
  return (driver_features & ~offered()) == 0 && (driver_features & kFeatureVersion1) != 0;
}

void MmioTransport::State::activate() {
  interrupt = std::make_shared<MmioInterrupt>(signals);
  auto activated = [&]() -> Result<void> {
    Activation activation{driver_features, {}, interrupt};
    for (size_t i = 0; i < queues.size(); i++) {
      Queue ring = Queue::absent();
      if (queues[i].ready) ring = TRY(Queue::create(memory, queues[i].config, driver_features));
      activation.queues.push_back({std::move(ring), kicks[i].get()});
    }
    return device.activate(std::move(activation));
  }();
  if (activated) return;
  log_limiter.warn("virtio device type " + std::to_string(device.type()) + ": " + activated.error().message());
  interrupt->device_broken();
}

void MmioTransport::State::reset() {
  // First silence, then the device, which returns when its threads have let go of queues, kicks and guest memory.
  if (interrupt) interrupt->detach();
  device.reset();
  interrupt.reset();
  for (const Fd& kick : kicks) drain_eventfd(kick.get());
  std::ranges::fill(queues, QueueSetup{});
  signals.pending = 0;
  signals.needs_reset = false;
  status = 0;
  driver_features = 0;
  device_features_select = 0;
  driver_features_select = 0;
  queue_select = 0;
}

}  // namespace nacre::virtio
