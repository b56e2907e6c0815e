// The guest's RAM, as devices and loaders reach it.
//
// The guest may write to it at any moment, so nothing here gives out a T* into it: scalars and headers are copied out
// and in, bulk data is given as iovecs for system calls. Every address is checked; an address outside RAM is an error
// value, never a fault. Thread-safe: the layout is fixed once built, and which blocks of hot-pluggable memory are there
// is read atomically.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/mapping.h"
#include "base/result.h"
#include "devices/guest_address.h"
#include "devices/plugged_blocks.h"

namespace nacre {

class GuestMemory {
 public:
  struct Region {
    GuestAddress start;
    Mapping mapping;
    // Hot-pluggable memory: only these blocks of it are RAM; the rest is outside. Null: all of it is RAM for good. Once
    // a block was plugged the host's mapping of it stays accessible, so that an access which raced with its being
    // unplugged meets zeroes and does no harm.
    std::shared_ptr<const PluggedBlocks> plugged = nullptr;
  };

  // Regions sorted by address, not overlapping.
  explicit GuestMemory(std::vector<Region> regions) : regions_(std::move(regions)) {}

  // One region of zero pages from `start`: what device tests use.
  static Result<GuestMemory> anonymous(GuestAddress start, size_t size);

  const std::vector<Region>& regions() const { return regions_; }

  // One region must hold all of the bytes; no bytes at all are allowed.
  Result<void> read(GuestAddress from, std::span<std::byte> out) const;
  Result<void> write(GuestAddress to, std::span<const std::byte> in) const;

  // A copy of a plain structure; take it once and check the copy.
  template <typename T>
  Result<T> load(GuestAddress from) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    TRY(read(from, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  template <typename T>
  Result<void> store(GuestAddress to, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return write(to, std::as_bytes(std::span(&value, 1)));
  }

  // Ring indices (virtio 1.3, 2.7): naturally aligned 16-bit accesses with acquire and release order.
  Result<uint16_t> load_acquire_u16(GuestAddress from) const;
  Result<void> store_release_u16(GuestAddress to, uint16_t value) const;

  // The host's view of [start, start + size) for readv/writev; one region must hold all of it. size 0 is allowed.
  Result<iovec> slice(GuestAddress start, size_t size) const;

 private:
  std::vector<Region> regions_;
};

}  // namespace nacre
