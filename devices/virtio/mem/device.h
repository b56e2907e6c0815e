// virtio-mem (virtio 1.3, 5.15): memory that the guest gets, and gives back, while it runs.
//
// The device says how much memory the guest should have, and the driver plugs and unplugs blocks until that is so, as
// far as it can. A block that is not plugged is no RAM: neither for devices (GuestMemory asks the same PluggedBlocks)
// nor, by the chunk, for the guest's CPUs. So a guest cannot make the host spend more than it was allowed.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "base/event_loop.h"
#include "devices/guest_address.h"
#include "devices/plugged_blocks.h"
#include "devices/virtio/device.h"
#include "devices/virtio/mem/wire.h"
#include "devices/virtio/worker.h"

namespace nacre::virtio {

// What lies below the region: the host's memory, and the guest's view of it. Takes offsets in the region, in bytes.
// Called on the loop's thread.
class MemBackend {
 public:
  virtual ~MemBackend() = default;
  // Called before the first block of a chunk is plugged, and after the last one was unplugged.
  virtual Result<void> open_chunk(uint64_t offset, uint64_t size) = 0;
  virtual void close_chunk(uint64_t offset, uint64_t size) = 0;
  // Gives the host's memory back. The content is lost.
  virtual Result<void> discard(uint64_t offset, uint64_t size) = 0;
};

struct MemOptions {
  GuestAddress start;       // a multiple of the chunk size
  uint64_t chunk_size = 0;  // a multiple of the block size that divides the region
  // The region: its block size and number of blocks; none of them plugged yet.
  std::shared_ptr<PluggedBlocks> blocks;
};

// Requests are handled on the loop's thread, by a DeviceWorker. create() and the destructor are for that thread, or
// while nobody runs the loop; the loop and the backend must outlive the device. A reset of the device leaves memory
// plugged: the driver, or the next one, still uses it.
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
  // The size that was requested, and which blocks are plugged. Their content is guest memory's to save.
  Result<void> save(StateWriter& state) override;
  // Plugs the blocks that were plugged, which opens their chunks through the backend. The region must be the same, with
  // nothing plugged. Before other devices are restored: their queues may lie in this memory.
  Result<void> restore(StateReader& state) override;

  // Sets how many bytes the guest should have: a multiple of the block size, at most the region. On the loop's thread.
  Result<void> request_size(uint64_t size);
  // Any thread.
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
  // Whether what is requested justifies as many open chunks as this range would make.
  bool may_open(const Range& range) const;
  // Opens the range's chunks that hold nothing yet: all of them or none.
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

  mutable std::mutex mutex_;  // guards what vCPUs read in the configuration space
  uint64_t requested_ = 0;
  uint64_t plugged_ = 0;

  std::unique_ptr<DeviceWorker> worker_;  // ends first
};

}  // namespace nacre::virtio
