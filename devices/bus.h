// An address space of devices: MMIO, or x86's port I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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

// Maps ranges to devices. Built before vCPUs run, then only read.
class Bus {
 public:
  // The device must outlive the bus. An overlap with an earlier range is an error.
  Result<void> add(uint64_t base, uint64_t size, BusDevice& device);

  // Where no device answers, a read gives all ones (as an x86 bus floats) and a write goes nowhere; false is returned.
  bool read(uint64_t address, std::span<std::byte> data) const;
  bool write(uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Range {
    uint64_t base;
    uint64_t size;
    BusDevice* device;
  };
  const Range* find(uint64_t address, size_t size) const;

  std::vector<Range> ranges_;  // sorted by base
};

}  // namespace nacre
