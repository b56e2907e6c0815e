#include "vmm/machine/hotplug_memory.h"

#include <sys/mman.h>

#include "base/log.h"

namespace nacre::vmm {

Result<void> HotplugMemory::open_chunk(uint64_t offset, uint64_t size) {
  std::span<std::byte> chunk = host_.subspan(offset, size);
  // Here a host that does not overcommit may refuse.
  if (::mprotect(chunk.data(), chunk.size(), PROT_READ | PROT_WRITE) < 0) return fail_errno("memory for the guest");
  return vm_.add_memory(first_slot_ + static_cast<uint32_t>(offset / size), GuestAddress{start_.value + offset}, chunk);
}

void HotplugMemory::close_chunk(uint64_t offset, uint64_t size) {
  // The mapping stays accessible, for a device's access that is under way (GuestMemory::Region).
  auto removed = vm_.remove_memory(first_slot_ + static_cast<uint32_t>(offset / size));
  if (!removed) log_warn("memory of the guest: " + removed.error().message());
}

Result<void> HotplugMemory::discard(uint64_t offset, uint64_t size) {
  std::span<std::byte> range = host_.subspan(offset, size);
  if (::madvise(range.data(), range.size(), MADV_DONTNEED) < 0) return fail_errno("memory of the guest");
  return {};
}

}  // namespace nacre::vmm
