// SPDX-License-Identifier: Apache-2.0
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

GuestMemory::GuestMemory(std::vector<Region> regions) : regions_(std::move(regions)) {
  for (const Region& region : regions_) {
    if (!region.plugged) ranges_.push_back(*range_of(region.start, region.mapping.size()));
  }
}

Result<GuestMemory> GuestMemory::anonymous(GuestAddress start, size_t size) {
  std::vector<Region> regions;
  regions.push_back({start, TRY(Mapping::anonymous(size))});
  return GuestMemory(std::move(regions));
}

// Returns the last region that begins at the address or before: the only one that can hold it.
const GuestMemory::Region* GuestMemory::find(GuestAddress address) const {
  auto after = std::upper_bound(regions_.begin(), regions_.end(), address,
                                [](GuestAddress start, const Region& region) { return start < region.start; });
  return after == regions_.begin() ? nullptr : &*std::prev(after);
}

Result<iovec> GuestMemory::slice(GuestAddress start, size_t size) const {
  const Region* region = find(start);
  if (region == nullptr) return fail("guest address outside RAM", EFAULT);
  // Compared as offsets in the region, so that no sum can wrap round.
  uint64_t offset = start.value - region->start.value;
  uint64_t length = region->mapping.size();
  if (offset > length || size > length - offset) return fail("guest address outside RAM", EFAULT);
  if (region->plugged && !region->plugged->hold(offset, size)) return fail("guest address not plugged", EFAULT);
  return iovec{region->mapping.data() + offset, size};
}

Result<GuestMemoryListener::Range> GuestMemory::range_of(GuestAddress start, uint64_t size) const {
  const Region* region = find(start);
  uint64_t offset = region == nullptr ? 0 : start.value - region->start.value;
  if (region == nullptr || offset > region->mapping.size() || size > region->mapping.size() - offset) {
    return fail("guest address outside RAM", EFAULT);
  }
  GuestMemoryListener::Range range{start, region->mapping.bytes().subspan(offset, size)};
  if (region->file) {
    range.file = region->file->get();
    range.file_offset = region->file_offset + offset;
  }
  return range;
}

Result<void> GuestMemory::add_listener(GuestMemoryListener& listener) {
  for (size_t i = 0; i < ranges_.size(); i++) {
    Result<void> told = listener.plugged(ranges_[i]);
    if (told) continue;
    while (i > 0) listener.unplugged(ranges_[--i]);
    return told;
  }
  listeners_.push_back(&listener);
  return {};
}

void GuestMemory::remove_listener(GuestMemoryListener& listener) {
  if (std::erase(listeners_, &listener) == 0) return;
  for (size_t i = ranges_.size(); i > 0; i--) listener.unplugged(ranges_[i - 1]);
}

Result<void> GuestMemory::plug(GuestAddress start, uint64_t size) {
  GuestMemoryListener::Range range = TRY(range_of(start, size));
  for (size_t i = 0; i < listeners_.size(); i++) {
    Result<void> told = listeners_[i]->plugged(range);
    if (told) continue;
    while (i > 0) listeners_[--i]->unplugged(range);
    return told;
  }
  ranges_.push_back(range);
  return {};
}

void GuestMemory::unplug(GuestAddress start, uint64_t size) {
  auto is_it = [&](const GuestMemoryListener::Range& range) {
    return range.start == start && range.host.size() == size;
  };
  auto range = std::ranges::find_if(ranges_, is_it);
  if (range == ranges_.end()) return;
  for (size_t i = listeners_.size(); i > 0; i--) listeners_[i - 1]->unplugged(*range);
  ranges_.erase(range);
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
