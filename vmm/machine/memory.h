// SPDX-License-Identifier: Apache-2.0
// The guest's RAM: what it boots with and what it may get later, where that comes from, and KVM's view of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"
#include "devices/plugged_blocks.h"
#include "devices/virtio/mem/device.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm {

// The unit in which a guest gets memory later.
inline constexpr uint64_t kHotplugBlock = 2 << 20;

struct MemorySize {
  uint64_t boot;  // bytes
  uint64_t max;   // at least as many
};

struct GuestRam {
  GuestMemory memory;
  std::shared_ptr<PluggedBlocks> hotplug;  // of the last region; null: none of the memory comes later
};

// Makes so much RAM, and reserves addresses for what may come later. `file`: what lies behind it, from offset 0 (it is
// made as long as it has to be); null: private anonymous memory.
Result<GuestRam> create_guest_ram(const MemorySize& size, std::shared_ptr<const Fd> file);

// Gives the guest's CPUs what is plugged: each range takes a slot of KVM.
class KvmSlots final : public GuestMemoryListener {
 public:
  explicit KvmSlots(Vm& vm) : vm_(vm) {}
  Result<void> plugged(const Range& range) override;
  void unplugged(const Range& range) override;

 private:
  Vm& vm_;
  std::vector<uint64_t> slots_;  // by slot: the start of the range in it, or kFree
};

// On the loop's thread, or before it runs.
class MachineMemory final : private virtio::MemBackend {
 public:
  // `vm` must outlive this.
  static Result<std::unique_ptr<MachineMemory>> create(Vm& vm, const MemorySize& size, std::shared_ptr<const Fd> file);

  GuestMemory& guest() { return guest_; }
  const MemorySize& size() const { return size_; }

  // Makes the device by which memory comes and goes. Null if none can come. `loop` and this must outlive the device.
  Result<std::unique_ptr<virtio::MemDevice>> create_device(EventLoop& loop);

 private:
  MachineMemory(Vm& vm, const MemorySize& size, GuestRam ram)
      : size_(size), guest_(std::move(ram.memory)), hotplug_(std::move(ram.hotplug)), slots_(vm) {}
  const GuestMemory::Region& hotplug_region() const { return guest_.regions().back(); }

  // Offsets are in the hot-pluggable region.
  Result<void> open_chunk(uint64_t offset, uint64_t size) override;
  void close_chunk(uint64_t offset, uint64_t size) override;
  Result<void> discard(uint64_t offset, uint64_t size) override;

  const MemorySize size_;
  GuestMemory guest_;
  const std::shared_ptr<PluggedBlocks> hotplug_;
  KvmSlots slots_;
};

}  // namespace nacre::vmm
