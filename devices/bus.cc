#include "devices/bus.h"

#include <algorithm>

namespace nacre {

Result<void> Bus::add(uint64_t base, uint64_t size, BusDevice& device) {
  if (size == 0 || base + (size - 1) < base) return fail("bus: a device's range is empty or wraps round", EINVAL);
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), base,
                                [](uint64_t address, const Range& range) { return address < range.base; });
  if (after != ranges_.begin()) {
    const Range& before = *std::prev(after);
    if (base - before.base < before.size) return fail("bus: two devices at one address", EEXIST);
  }
  if (after != ranges_.end() && after->base - base < size) return fail("bus: two devices at one address", EEXIST);
  ranges_.insert(after, Range{base, size, &device});
  return {};
}

const Bus::Range* Bus::find(uint64_t address, size_t size) const {
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](uint64_t value, const Range& range) { return value < range.base; });
  if (after == ranges_.begin()) return nullptr;
  const Range& range = *std::prev(after);
  // An access must end where its device does: no device sees an offset past its window.
  uint64_t offset = address - range.base;
  if (offset >= range.size || size > range.size - offset) return nullptr;
  return &range;
}

bool Bus::read(uint64_t address, std::span<std::byte> data) const {
  const Range* range = find(address, data.size());
  if (range == nullptr) {
    std::ranges::fill(data, std::byte{0xff});
    return false;
  }
  range->device->read(address - range->base, data);
  return true;
}

bool Bus::write(uint64_t address, std::span<const std::byte> data) const {
  const Range* range = find(address, data.size());
  if (range == nullptr) return false;
  range->device->write(address - range->base, data);
  return true;
}

}  // namespace nacre
