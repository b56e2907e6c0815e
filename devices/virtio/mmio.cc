// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/mmio.h"

#include <algorithm>
#include <cstring>

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

// 4.2.2, InterruptStatus
constexpr uint32_t kInterruptUsed = 1;
constexpr uint32_t kInterruptConfig = 2;

constexpr uint16_t kMmioStateVersion = 1;

}  // namespace

void MmioTransport::InterruptStatus::queue_used(uint16_t) {
  raise(kInterruptUsed);
}

void MmioTransport::InterruptStatus::config_changed() {
  raise(kInterruptConfig);
}

void MmioTransport::InterruptStatus::raise(uint32_t cause) {
  pending_.fetch_or(cause);
  irq_.trigger();
}

void MmioTransport::InterruptStatus::repeat() {
  if (pending_ != 0) irq_.trigger();
}

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(VirtioDevice& device, const GuestMemory& memory,
                                                             IrqLine& irq) {
  std::unique_ptr<MmioTransport> transport(new MmioTransport(irq));
  transport->core_ = TRY(TransportCore::create(device, memory, transport->interrupt_));
  return transport;
}

void MmioTransport::read(uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
  if (offset >= kConfig) return core_->read_config(offset - kConfig, data);
  // 4.2.2.2: control registers are accessed by aligned 32-bit words only.
  if (data.size() != sizeof(uint32_t) || offset % sizeof(uint32_t) != 0) return;
  uint32_t value = read_register(offset);
  std::memcpy(data.data(), &value, sizeof(value));
}

void MmioTransport::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset >= kConfig) return core_->write_config(offset - kConfig, data);
  if (data.size() != sizeof(uint32_t) || offset % sizeof(uint32_t) != 0) return;
  uint32_t value;
  std::memcpy(&value, data.data(), sizeof(value));
  write_register(offset, value);
}

uint32_t MmioTransport::read_register(uint64_t offset) {
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return 2;
    case kDeviceId:
      return core_->device_type();
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return core_->device_features(device_features_select_);
    case kQueueSizeMax:
      return core_->queue_max_size(queue_select_);
    case kQueueReady:
      return core_->is_queue_ready(queue_select_);
    case kInterruptStatus:
      return interrupt_.pending();
    case kStatus:
      return core_->status();
    case kShmLenLow:
    case kShmLenHigh:
    case kShmBaseLow:
    case kShmBaseHigh:
      return kNoRegion;  // 4.2.2: length -1 says that the region does not exist
    case kConfigGeneration:
      return core_->config_generation();
    default:
      return 0;
  }
}

void MmioTransport::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceFeaturesSel:
      device_features_select_ = value;
      break;
    case kDriverFeaturesSel:
      driver_features_select_ = value;
      break;
    case kDriverFeatures:
      return core_->write_driver_features(driver_features_select_, value);
    case kQueueSel:
      queue_select_ = value;
      break;
    case kQueueSize:
      return core_->set_queue_size(queue_select_, value);
    case kQueueReady:
      return core_->set_queue_ready(queue_select_, value & 1);
    case kQueueNotify:
      return core_->notify(value);
    case kInterruptAck:
      return interrupt_.acknowledge(value);
    case kStatus:
      return write_status(value);
    default:
      return write_queue_address(offset, value);
  }
}

void MmioTransport::write_queue_address(uint64_t offset, uint32_t value) {
  using Part = TransportCore::QueuePart;
  using Half = TransportCore::Half;
  auto set = [&](Part part, Half half) { core_->set_queue_address(queue_select_, part, half, value); };
  switch (offset) {
    case kQueueDescLow:
      return set(Part::descriptors, Half::low);
    case kQueueDescHigh:
      return set(Part::descriptors, Half::high);
    case kQueueDriverLow:
      return set(Part::driver_ring, Half::low);
    case kQueueDriverHigh:
      return set(Part::driver_ring, Half::high);
    case kQueueDeviceLow:
      return set(Part::device_ring, Half::low);
    case kQueueDeviceHigh:
      return set(Part::device_ring, Half::high);
    default:
      break;
  }
}

void MmioTransport::write_status(uint32_t value) {
  core_->write_status(value);
  if (value == 0) device_features_select_ = driver_features_select_ = queue_select_ = 0;
}

// An edge that came between save and restore may be lost with the interrupt controller of the old machine.
void MmioTransport::resume() {
  core_->resume();
  interrupt_.repeat();
}

Result<void> MmioTransport::save(StateWriter& state) {
  return state.section("mmio", kMmioStateVersion, [&] {
    state.u32(interrupt_.pending());
    state.u32(device_features_select_);
    state.u32(driver_features_select_);
    state.u32(queue_select_);
    return core_->save(state);
  });
}

Result<void> MmioTransport::restore(StateReader& state) {
  StateReader registers = TRY(state.section("mmio", kMmioStateVersion));
  uint32_t pending = TRY(registers.u32());
  if (pending & ~(kInterruptUsed | kInterruptConfig)) return registers.invalid("an interrupt that there is not");
  uint32_t device_features_select = TRY(registers.u32());
  uint32_t driver_features_select = TRY(registers.u32());
  uint32_t queue_select = TRY(registers.u32());
  TRY(core_->restore(registers));
  interrupt_.add_pending(pending);
  device_features_select_ = device_features_select;
  driver_features_select_ = driver_features_select;
  queue_select_ = queue_select;
  return {};
}

}  // namespace nacre::virtio
