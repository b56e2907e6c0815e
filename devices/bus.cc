// SPDX-License-Identifier: Apache-2.0
#include "devices/bus.h"

#include <algorithm>

namespace nacre {

Result<void> Bus::add(uint64_t base, uint64_t size, BusDevice& device) {
  WriteLock lock(mutex_);
  return insert(Range{base, size, &device});
}

Result<void> Bus::move(uint64_t base, uint64_t new_base) {
  WriteLock lock(mutex_);
  auto found = range_at(base);
  if (found == ranges_.end()) return fail("bus: no device begins at this address", ENOENT);
  Range range = *found;
  ranges_.erase(found);
  auto moved = insert(Range{new_base, range.size, range.device});
  if (!moved) TRY(insert(range));
  return moved;
}

Result<void> Bus::remove(uint64_t base) {
  WriteLock lock(mutex_);
  auto found = range_at(base);
  if (found == ranges_.end()) return fail("bus: no device begins at this address", ENOENT);
  ranges_.erase(found);
  return {};
}

std::vector<Bus::Range>::iterator Bus::range_at(uint64_t base) {
  return std::ranges::find_if(ranges_, [base](const Range& range) { return range.base == base; });
}

Result<void> Bus::insert(const Range& added) {
  auto [base, size, device] = added;
  if (size == 0 || base + (size - 1) < base) return fail("bus: a device's range is empty or wraps round", EINVAL);
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), base,
                                [](uint64_t address, const Range& range) { return address < range.base; });
  if (after != ranges_.begin()) {
    const Range& before = *std::prev(after);
    if (base - before.base < before.size) return fail("bus: two devices at one address", EEXIST);
  }
  if (after != ranges_.end() && after->base - base < size) return fail("bus: two devices at one address", EEXIST);
  ranges_.insert(after, added);
  return {};
}

std::optional<Bus::Range> Bus::find(uint64_t address, size_t size) const {
  ReadLock lock(mutex_);
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](uint64_t value, const Range& range) { return value < range.base; });
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = *std::prev(after);
  // An access must end where its device does: no device sees an offset past its window.
  uint64_t offset = address - range.base;
  if (offset >= range.size || size > range.size - offset) return std::nullopt;
  return range;
}

bool Bus::read(uint64_t address, std::span<std::byte> data) const {
  auto range = find(address, data.size());
  if (!range) {
    std::ranges::fill(data, std::byte{0xff});
    return false;
  }
  range->device->read(address - range->base, data);
  return true;
}

bool Bus::write(uint64_t address, std::span<const std::byte> data) const {
  auto range = find(address, data.size());
  if (!range) return false;
  range->device->write(address - range->base, data);
  return true;
}

}  // namespace nacre
