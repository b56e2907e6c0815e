// SPDX-License-Identifier: Apache-2.0
// The driver's side of virtqueues, for tests and fuzzers of devices: guest memory, rings laid out in it, requests, and
// an Activation that brings a device up with no transport and no KVM.
//
//   FakeDriver driver({.queue_sizes = {64, 64}});
//   driver.activate(device);
//   driver.queue(1).send({header, body}, {4096});
//   auto used = driver.queue(1).wait_used();       // std::optional<Used>
//   ... used->written ...
//
// For use by one thread, while the device may run on others. What a test does wrong, and what a device does against the
// specification (virtio 1.3, 2.7), is thrown as std::logic_error, which fails the test.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "devices/guest_memory.h"
#include "devices/virtio/device.h"
#include "devices/virtio/features.h"

namespace nacre::testing {

using Bytes = std::vector<std::byte>;
Bytes bytes_of(std::string_view text);
template <typename T>
Bytes bytes_of_object(const T& object) {
  auto view = std::as_bytes(std::span(&object, 1));
  return Bytes(view.begin(), view.end());
}

// struct virtq_desc as a hostile driver would write it.
struct RawDescriptor {
  uint64_t address = 0;
  uint32_t length = 0;
  uint16_t flags = 0;
  uint16_t next = 0;
};
inline constexpr uint16_t kNext = 1;
inline constexpr uint16_t kWrite = 2;
inline constexpr uint16_t kIndirect = 4;

// Counts what a device signals.
class RecordingInterrupt final : public virtio::Interrupt {
 public:
  void queue_used(uint16_t) override { count(used_); }
  void config_changed() override { count(config_); }
  void device_broken() override { count(broken_); }

  uint64_t used_count() const { return get(used_); }
  uint64_t config_count() const { return get(config_); }
  uint64_t broken_count() const { return get(broken_); }
  // Waits until used_count() differs from `seen`, or the device is broken, or the limit is over (false).
  bool wait_used_beyond(uint64_t seen, std::chrono::milliseconds limit);
  bool wait_broken(std::chrono::milliseconds limit = std::chrono::seconds(60));

 private:
  void count(uint64_t& counter);
  uint64_t get(const uint64_t& counter) const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t used_ = 0, config_ = 0, broken_ = 0;
};

// Hands out guest memory above the rings; freed blocks are used again (by size class).
class Allocator {
 public:
  Allocator(uint64_t start, uint64_t end) : next_(start), end_(end) {}
  GuestAddress allocate(uint64_t size, uint64_t alignment = 16);
  void free(GuestAddress address, uint64_t size);

 private:
  uint64_t next_, end_;
  std::map<uint64_t, std::vector<uint64_t>> free_;
};

struct Used {
  uint16_t head = 0;
  uint32_t length = 0;  // as the device reported it
  Bytes written;        // that many bytes of the chain's writable buffers
};

enum class Layout { direct, indirect };

class FakeDriver;

// The driver's side of one queue.
class FakeQueue {
 public:
  FakeQueue(FakeDriver& driver, uint16_t size);

  const virtio::QueueConfig& config() const { return config_; }
  int kick_fd() const { return kick_.get(); }

  // Writes one chain: the readable buffers with their content, then writable ones of the given sizes (filled with
  // 0xee). Not yet available. Returns the head. Buffers and descriptors are freed when pop_used() meets the head.
  uint16_t add(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable,
               Layout layout = Layout::direct);
  // Puts heads on the available ring, then moves the index by their number.
  void make_available(std::span<const uint16_t> heads);
  void make_available(uint16_t head) { make_available(std::span(&head, 1)); }
  // Notifies if the device wants it (2.7.10); returns whether it did.
  bool kick_if_wanted();
  void kick();  // in any case
  // add(), make_available(), kick_if_wanted().
  uint16_t send(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable,
                Layout layout = Layout::direct);

  // For hostile tests: write descriptors and indices as they are.
  void write_descriptor(uint16_t index, const RawDescriptor& descriptor);
  // An indirect table somewhere in memory.
  GuestAddress write_table(std::span<const RawDescriptor> table);
  void set_available_index(uint16_t index);
  uint16_t available_index() const { return available_index_; }
  uint16_t used_index() const;  // as the device has published it
  uint16_t used_flags() const;
  uint16_t available_event() const;  // index at which the device wants a kick
  void set_no_interrupt(bool on);    // VIRTQ_AVAIL_F_NO_INTERRUPT
  void set_used_event(uint16_t index);

  // The next used entry, if there is one.
  std::optional<Used> pop_used();
  // The same, and waits for it. Asks for an interrupt first, as a driver does, and then wakes by interrupt only: a
  // device that forgets to signal is found out (std::logic_error). Nothing when the limit passes or the device broke.
  std::optional<Used> wait_used(std::chrono::milliseconds limit = std::chrono::seconds(60));
  // Waits for the chain with this head; used entries met on the way are kept for later calls.
  std::optional<Used> wait_used_head(uint16_t head, std::chrono::milliseconds limit = std::chrono::seconds(60));
  // send() and wait for its answer.
  std::optional<Used> request(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable,
                              Layout layout = Layout::direct);

 private:
  struct Block {
    GuestAddress address;
    uint32_t size;
  };
  struct InFlight {
    std::vector<uint16_t> descriptors;
    std::vector<Block> blocks;
    std::vector<Block> writable;
  };

  FakeDriver& driver_;
  virtio::QueueConfig config_;
  Fd kick_;
  std::vector<uint16_t> free_descriptors_;
  std::map<uint16_t, InFlight> in_flight_;
  std::vector<Used> kept_;
  uint16_t available_index_ = 0;
  uint16_t kicked_index_ = 0;
  uint16_t last_used_ = 0;
};

class FakeDriver {
 public:
  struct Options {
    size_t memory_mib = 16;
    uint64_t memory_start = 0x10000000;
    uint64_t features = virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;
    std::vector<uint16_t> queue_sizes = {16};
  };
  explicit FakeDriver(Options options);
  FakeDriver() : FakeDriver(Options{}) {}

  const GuestMemory& memory() const { return memory_; }
  uint64_t features() const { return options_.features; }
  bool has(uint64_t feature) const { return options_.features & feature; }
  Allocator& allocator() { return allocator_; }
  FakeQueue& queue(size_t index) { return *queues_.at(index); }
  size_t queue_count() const { return queues_.size(); }
  RecordingInterrupt& interrupt() { return *interrupt_; }

  // What a transport hands to a device at DRIVER_OK; may be called again after a device's reset (see restart()).
  virtio::Activation make_activation();
  // Activates the device with it; an error of the device is thrown.
  void activate(virtio::VirtioDevice& device);
  // After the device's reset: fresh rings and a fresh interrupt, as a driver makes that loads again.
  void restart();

  // For devices that work on an event loop of the test's own thread: called instead of sleeping, with milliseconds.
  void set_pump(std::function<void(int timeout_ms)> pump) { pump_ = std::move(pump); }

 private:
  friend class FakeQueue;
  bool wait_interrupt(uint64_t seen, std::chrono::milliseconds limit);

  Options options_;
  GuestMemory memory_;
  Allocator allocator_;
  std::shared_ptr<RecordingInterrupt> interrupt_;
  std::vector<std::unique_ptr<FakeQueue>> queues_;
  std::function<void(int)> pump_;
};

}  // namespace nacre::testing
