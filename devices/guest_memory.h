// SPDX-License-Identifier: Apache-2.0
// The guest's RAM, as devices and loaders reach it.
//
// The guest may write to it at any moment, so nothing here gives out a T* into it: scalars and headers are copied out
// and in, bulk data is given as iovecs for system calls. Every address is checked; an address outside RAM is an error
// value, never a fault. Thread-safe, but for listeners: the layout is fixed once built, and which blocks of
// hot-pluggable memory are there is read atomically.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "devices/guest_address.h"
#include "devices/plugged_blocks.h"

namespace nacre {

// Hears which RAM the guest gets and loses: for everyone who keeps a view of guest memory of his own, such as KVM's
// slots, an IOMMU or a process that serves a device.
class GuestMemoryListener {
 public:
  struct Range {
    GuestAddress start;
    std::span<std::byte> host;  // where vmm has it mapped
    int file = -1;              // the file behind it, if it is shared (Region::file), and where it begins there
    uint64_t file_offset = 0;
  };
  virtual ~GuestMemoryListener() = default;
  // Called before the guest may use the range. After an error the guest does not get it.
  virtual Result<void> plugged(const Range& range) = 0;
  // Called when the guest may no longer use a range for which plugged() has succeeded, with the very same range.
  virtual void unplugged(const Range& range) = 0;
};

class GuestMemory {
 public:
  struct Region {
    GuestAddress start;
    Mapping mapping;
    // Hot-pluggable memory: only these blocks of it are RAM; the rest is outside. Null: all of it is RAM for good. Once
    // a block was plugged the host's mapping of it stays accessible, so that an access which raced with its being
    // unplugged meets zeroes and does no harm.
    std::shared_ptr<const PluggedBlocks> plugged = nullptr;
    // The file or memfd that is mapped here, shared, from this offset. Null: private anonymous memory.
    std::shared_ptr<const Fd> file = nullptr;
    uint64_t file_offset = 0;
  };

  // Regions sorted by address, not overlapping.
  explicit GuestMemory(std::vector<Region> regions);

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

  // Listeners come and go, and ranges are plugged and unplugged, on one thread. Listeners hear of ranges in the order
  // in which they were added, and of unplugging in the reverse order.
  //
  // Adds a listener, which must outlive this or be removed, and tells it of all RAM that is there. After an error it
  // has been told that all of it is gone, and is not added.
  Result<void> add_listener(GuestMemoryListener& listener);
  // Tells the listener that all RAM is gone, and removes it.
  void remove_listener(GuestMemoryListener& listener);
  // Tell the listeners of a range of hot-pluggable memory: of all or, after an error, of none. Whether blocks of it are
  // plugged is for the region's PluggedBlocks to say.
  Result<void> plug(GuestAddress start, uint64_t size);
  void unplug(GuestAddress start, uint64_t size);

 private:
  const Region* find(GuestAddress address) const;
  Result<GuestMemoryListener::Range> range_of(GuestAddress start, uint64_t size) const;

  std::vector<Region> regions_;
  std::vector<GuestMemoryListener::Range> ranges_;  // those that listeners have been told of
  std::vector<GuestMemoryListener*> listeners_;
};

}  // namespace nacre
