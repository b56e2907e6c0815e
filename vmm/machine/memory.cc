// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/memory.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "vmm/arch/arch.h"

namespace nacre::vmm {

namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr uint64_t kFree = UINT64_MAX;

// RAM is reserved, not committed, so the kernel's own check lets almost anything pass. A guest larger than all of the
// host's memory can only end badly: say so at once.
Result<void> check_host_memory(uint64_t size) {
  struct sysinfo info;
  if (::sysinfo(&info) < 0) return fail_errno("sysinfo");
  uint64_t total = (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
  if (size > total) {
    return fail(fmt::format("no memory for the guest: {} MiB asked, the host has {} MiB", size >> 20, total >> 20),
                ENOMEM);
  }
  return {};
}

// Builds the regions one after the other, in the order in which they lie in the file.
class Builder {
 public:
  explicit Builder(std::shared_ptr<const Fd> file) : file_(std::move(file)) {}

  Result<void> add(const arch::AddressRange& range) {
    Mapping mapping = TRY_CONTEXT(map(range.size, PROT_READ | PROT_WRITE), "no memory for the guest");
    regions_.push_back({range.start, std::move(mapping), nullptr, file_, file_offset_});
    file_offset_ += range.size;
    return {};
  }

  // Addresses only: it costs nothing.
  Result<std::shared_ptr<PluggedBlocks>> reserve(const arch::AddressRange& range) {
    Mapping mapping = TRY_CONTEXT(map(range.size, PROT_NONE), "no room for memory to come");
    auto blocks = std::make_shared<PluggedBlocks>(kHotplugBlock, range.size / kHotplugBlock);
    regions_.push_back({range.start, std::move(mapping), blocks, file_, file_offset_});
    file_offset_ += range.size;
    return blocks;
  }

  std::vector<GuestMemory::Region> take() { return std::move(regions_); }

 private:
  // Maps guest memory, and keeps it out of core files of vmm.
  Result<Mapping> map(uint64_t size, int protection) {
    Mapping mapping = TRY(map_pages(size, protection));
    if (::madvise(mapping.data(), size, MADV_DONTDUMP) < 0) return fail_errno("madvise");
    // Nearly every first access to a page ends in the host, and costs two faults there: a third of a boot's
    // instructions without huge pages. A kernel without them refuses the advice, which changes nothing.
    (void)::madvise(mapping.data(), size, MADV_HUGEPAGE);
    return mapping;
  }

  Result<Mapping> map_pages(uint64_t size, int protection) {
    if (!file_) {
      return protection == PROT_NONE ? Mapping::reserve(size, kHugePage) : Mapping::anonymous(size, kHugePage);
    }
    auto offset = static_cast<off_t>(file_offset_);
    if (::ftruncate(file_->get(), offset + static_cast<off_t>(size)) < 0) return fail_errno("ftruncate");
    Mapping mapping = TRY(Mapping::reserve(size, kHugePage));
    void* mapped =
        ::mmap(mapping.data(), size, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, file_->get(), offset);
    if (mapped == MAP_FAILED) return fail_errno("mmap");
    return mapping;
  }

  std::shared_ptr<const Fd> file_;
  uint64_t file_offset_ = 0;
  std::vector<GuestMemory::Region> regions_;
};

}  // namespace

Result<GuestRam> create_guest_ram(const MemorySize& size, std::shared_ptr<const Fd> file) {
  TRY(check_host_memory(size.boot));
  Builder builder(std::move(file));
  for (const arch::AddressRange& range : arch::ram_ranges(size.boot)) TRY(builder.add(range));
  std::shared_ptr<PluggedBlocks> hotplug;
  if (size.max > size.boot) hotplug = TRY(builder.reserve(arch::hotplug_range(size.boot, size.max - size.boot)));
  return GuestRam{GuestMemory(builder.take()), std::move(hotplug)};
}

Result<void> KvmSlots::plugged(const Range& range) {
  auto slot = std::ranges::find(slots_, kFree);
  auto number = static_cast<uint32_t>(slot - slots_.begin());
  TRY(vm_.add_memory(number, range.start, range.host));
  if (slot == slots_.end()) {
    slots_.push_back(range.start.value);
  } else {
    *slot = range.start.value;
  }
  return {};
}

void KvmSlots::unplugged(const Range& range) {
  auto slot = std::ranges::find(slots_, range.start.value);
  if (slot == slots_.end()) return;
  auto removed = vm_.remove_memory(static_cast<uint32_t>(slot - slots_.begin()));
  if (!removed) return log_warn("memory of the guest: " + removed.error().message());
  *slot = kFree;
}

Result<std::unique_ptr<MachineMemory>> MachineMemory::create(Vm& vm, const MemorySize& size,
                                                             std::shared_ptr<const Fd> file) {
  GuestRam ram = TRY(create_guest_ram(size, std::move(file)));
  std::unique_ptr<MachineMemory> memory(new MachineMemory(vm, size, std::move(ram)));
  TRY_CONTEXT(memory->guest_.add_listener(memory->slots_), "no memory for the guest");
  return memory;
}

Result<std::unique_ptr<virtio::MemDevice>> MachineMemory::create_device(EventLoop& loop) {
  if (!hotplug_) return nullptr;
  virtio::MemOptions options;
  options.start = hotplug_region().start;
  options.chunk_size = arch::hotplug_chunk(size_.boot);
  options.blocks = hotplug_;
  return virtio::MemDevice::create(loop, *this, std::move(options));
}

Result<void> MachineMemory::open_chunk(uint64_t offset, uint64_t size) {
  const GuestMemory::Region& region = hotplug_region();
  // Here a host that does not overcommit may refuse.
  if (::mprotect(region.mapping.data() + offset, size, PROT_READ | PROT_WRITE) < 0) {
    return fail_errno("memory for the guest");
  }
  return guest_.plug(GuestAddress{region.start.value + offset}, size);
}

void MachineMemory::close_chunk(uint64_t offset, uint64_t size) {
  // The mapping stays accessible, for a device's access that is under way (GuestMemory::Region).
  guest_.unplug(GuestAddress{hotplug_region().start.value + offset}, size);
}

Result<void> MachineMemory::discard(uint64_t offset, uint64_t size) {
  const GuestMemory::Region& region = hotplug_region();
  // MADV_DONTNEED leaves the pages of a file where they are.
  int advice = region.file ? MADV_REMOVE : MADV_DONTNEED;
  if (::madvise(region.mapping.data() + offset, size, advice) < 0) return fail_errno("memory of the guest");
  return {};
}

}  // namespace nacre::vmm
