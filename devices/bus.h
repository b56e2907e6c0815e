// SPDX-License-Identifier: Apache-2.0
// An address space of devices: MMIO, or x86's port I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"

namespace nacre {

// What the guest reaches by address. Called on vCPU threads, by several at once: implementations lock for themselves.
// `offset` is relative to the device's base; `data` is 1, 2, 4 or 8 bytes. A read fills all of `data`. Accesses that
// make no sense read as zeroes and write nothing: no guest access is an error.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual void read(uint64_t offset, std::span<std::byte> data) = 0;
  virtual void write(uint64_t offset, std::span<const std::byte> data) = 0;
};

// Maps ranges to devices. Thread-safe: ranges come, move and go while vCPUs run. Lookups share a lock, which is not
// held while a device is called, so a device may change the bus from within an access (a PCI function that moves its
// BAR).
class Bus {
 public:
  // The device must outlive every access, so the vCPUs: an access that has found its device goes on while another
  // thread takes the range away. An overlap with another range is an error.
  Result<void> add(uint64_t base, uint64_t size, BusDevice& device);
  // Moves the range that begins at `base`, in one step for those who look: it answers at the old or at the new place.
  // An overlap with another range is an error and leaves it where it is.
  Result<void> move(uint64_t base, uint64_t new_base);
  // Takes the range that begins at `base` away.
  Result<void> remove(uint64_t base);

  // Where no device answers, a read gives all ones (as an x86 bus floats) and a write goes nowhere; false is returned.
  bool read(uint64_t address, std::span<std::byte> data) const;
  bool write(uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Range {
    uint64_t base;
    uint64_t size;
    BusDevice* device;
  };
  std::optional<Range> find(uint64_t address, size_t size) const;
  std::vector<Range>::iterator range_at(uint64_t base) REQUIRES(mutex_);
  Result<void> insert(const Range& range) REQUIRES(mutex_);

  mutable SharedMutex mutex_;
  std::vector<Range> ranges_ GUARDED_BY(mutex_);  // sorted by base
};

}  // namespace nacre
