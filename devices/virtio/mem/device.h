// SPDX-License-Identifier: Apache-2.0
// virtio-mem (virtio 1.3, 5.15): memory that the guest gets, and gives back, while it runs.
//
// The device says how much memory the guest should have. The driver plugs and unplugs blocks until the guest has that
// much, as far as the driver can. A block that is not plugged is no RAM, neither for devices (GuestMemory asks the same
// PluggedBlocks) nor for the guest's CPUs, whose access is opened and closed by the chunk. So a guest cannot make the
// host spend more than the guest was allowed.
#pragma once

#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "devices/guest_address.h"
#include "devices/plugged_blocks.h"
#include "devices/virtio/device.h"
#include "devices/virtio/mem/wire.h"
#include "devices/virtio/worker.h"

namespace nacre::virtio {

// Provides the memory of the region, and shows it to the guest. The functions take offsets in the region, in bytes, and
// are called on the loop's thread.
class MemBackend {
 public:
  virtual ~MemBackend() = default;
  // open_chunk() is called before the first block of a chunk is plugged, and close_chunk() after the last one was
  // unplugged.
  virtual Result<void> open_chunk(uint64_t offset, uint64_t size) = 0;
  virtual void close_chunk(uint64_t offset, uint64_t size) = 0;
  // Gives memory back to the host. The content is lost.
  virtual Result<void> discard(uint64_t offset, uint64_t size) = 0;
};

struct MemOptions {
  GuestAddress start;       // a multiple of the chunk size
  uint64_t chunk_size = 0;  // a multiple of the block size that divides the region
  // The block size and the number of blocks of the region. No block is plugged yet.
  std::shared_ptr<PluggedBlocks> blocks;
};

// A DeviceWorker handles requests on the loop's thread. create() and the destructor may be called on that thread, or
// while nobody runs the loop. The loop and the backend must outlive the device. A reset of the device leaves memory
// plugged: the driver, or the next one, still uses that memory.
class MemDevice final : public VirtioDevice, private DeviceWorker::Client {
 public:
  static Result<std::unique_ptr<MemDevice>> create(EventLoop& loop, MemBackend& backend, MemOptions options);

  uint32_t type() const override { return mem::kDeviceType; }
  uint64_t features() const override { return mem::kFeatureUnpluggedInaccessible; }
  std::span<const uint16_t> queue_max_sizes() const override;
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;
  void pause() override { worker_->pause(); }
  void resume() override { worker_->resume(); }
  // Saves the requested size and which blocks are plugged. The content of the blocks is for guest memory to save.
  Result<void> save(StateWriter& state) override;
  // Plugs the blocks that were plugged, which opens their chunks through the backend. The region must be the same, with
  // nothing plugged. Restore this device before the others: their queues may lie in this memory.
  Result<void> restore(StateReader& state) override;

  // Sets how many bytes the guest should have: a multiple of the block size, at most the size of the region. Call this
  // on the loop's thread.
  Result<void> request_size(uint64_t size);
  // Any thread may call these.
  uint64_t region_size() const { return blocks_->block_size() * blocks_->blocks(); }
  uint64_t requested_size() const;
  uint64_t plugged_size() const;

 private:
  struct Range {
    uint64_t first, count;  // blocks
  };

  MemDevice(EventLoop& loop, MemBackend& backend, MemOptions options);
  // Of DeviceWorker::Client.
  Result<void> started() override { return {}; }
  Result<bool> turn() override;
  void broken() override {}
  void stopped() override {}

  uint32_t serve(Chain& chain);
  mem::Response answer(const mem::Request& request);
  std::optional<Range> range_of(const mem::Request& request) const;
  mem::ResponseType plug(const Range& range);
  mem::ResponseType unplug(const Range& range);
  mem::ResponseType unplug_all();
  uint16_t state_of(const Range& range) const;
  // Returns whether the requested size justifies as many open chunks as there would be with this range.
  bool may_open(const Range& range) const;
  // Opens the chunks of the range that hold no plugged block yet: all of them or none.
  bool open_chunks(const Range& range);
  void close_empty_chunks(const Range& range);
  void close_chunks(uint64_t first, uint64_t end);
  uint64_t plugged_in_chunk(uint64_t chunk) const;
  Result<void> restore_blocks(std::span<const std::byte> bits);
  void forget_blocks(uint64_t end);
  void set_plugged(const Range& range, bool plugged);

  EventLoop& loop_;
  MemBackend& backend_;
  const GuestAddress start_;
  const uint64_t chunk_size_;
  const std::shared_ptr<PluggedBlocks> blocks_;

  mutable Mutex mutex_;  // vCPU threads read both in the configuration space
  uint64_t requested_ GUARDED_BY(mutex_) = 0;
  uint64_t plugged_ GUARDED_BY(mutex_) = 0;

  std::unique_ptr<DeviceWorker> worker_;  // must end first
};

}  // namespace nacre::virtio
