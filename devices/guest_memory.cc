#include "devices/guest_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace nacre {

namespace {

// The guest changes RAM behind the compiler's back. The fences forbid the compiler to fetch a value again that was
// already copied out: what was checked is what is used.
void copy_shared(void* to, const void* from, size_t size) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (size > 0) std::memcpy(to, from, size);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

Result<GuestMemory> GuestMemory::anonymous(GuestAddress start, size_t size) {
  std::vector<Region> regions;
  regions.push_back({start, TRY(Mapping::anonymous(size))});
  return GuestMemory(std::move(regions));
}

Result<iovec> GuestMemory::slice(GuestAddress start, size_t size) const {
  auto after = std::upper_bound(regions_.begin(), regions_.end(), start,
                                [](GuestAddress address, const Region& region) { return address < region.start; });
  if (after == regions_.begin()) return fail("guest address outside RAM", EFAULT);
  const Region& region = *std::prev(after);
  // Compared as offsets in the region, so that no sum can wrap round.
  uint64_t offset = start.value - region.start.value;
  uint64_t length = region.mapping.size();
  if (offset > length || size > length - offset) return fail("guest address outside RAM", EFAULT);
  if (region.plugged && !region.plugged->hold(offset, size)) return fail("guest address not plugged", EFAULT);
  return iovec{region.mapping.data() + offset, size};
}

Result<void> GuestMemory::read(GuestAddress from, std::span<std::byte> out) const {
  iovec host = TRY(slice(from, out.size()));
  copy_shared(out.data(), host.iov_base, out.size());
  return {};
}

Result<void> GuestMemory::write(GuestAddress to, std::span<const std::byte> in) const {
  iovec host = TRY(slice(to, in.size()));
  copy_shared(host.iov_base, in.data(), in.size());
  return {};
}

Result<uint16_t> GuestMemory::load_acquire_u16(GuestAddress from) const {
  if (from.value % sizeof(uint16_t) != 0) return fail("misaligned ring index", EFAULT);
  iovec host = TRY(slice(from, sizeof(uint16_t)));
  return __atomic_load_n(static_cast<const uint16_t*>(host.iov_base), __ATOMIC_ACQUIRE);
}

Result<void> GuestMemory::store_release_u16(GuestAddress to, uint16_t value) const {
  if (to.value % sizeof(uint16_t) != 0) return fail("misaligned ring index", EFAULT);
  iovec host = TRY(slice(to, sizeof(uint16_t)));
  __atomic_store_n(static_cast<uint16_t*>(host.iov_base), value, __ATOMIC_RELEASE);
  return {};
}

}  // namespace nacre
