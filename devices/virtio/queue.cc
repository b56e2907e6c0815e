// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue.h"

#include <atomic>
#include <bit>

#include "devices/virtio/features.h"

namespace nacre::virtio {

namespace {

// struct virtq_desc (2.7.5). Little-endian, as are both hosts that Nacre runs on.
struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16 && std::endian::native == std::endian::little);

// struct virtq_used_elem (2.7.8)
struct UsedElement {
  uint32_t id;
  uint32_t length;
};

constexpr uint16_t kDescNext = 1;
constexpr uint16_t kDescWrite = 2;
constexpr uint16_t kDescIndirect = 4;

constexpr uint16_t kAvailNoInterrupt = 1;  // 2.7.6
constexpr uint16_t kUsedNoNotify = 1;      // 2.7.8

// Both rings: flags, idx, the entries, and after them the other side's event index (2.7.6, 2.7.8).
constexpr uint64_t kRingIndex = 2;
constexpr uint64_t kRingEntries = 4;

// 2.7.5.2: no chain is longer than this, so that a used length can say how much of it was written.
constexpr uint64_t kMaxChainBytes = UINT32_MAX;

// A place in a ring that create() has found to lie in RAM: the sum cannot wrap.
GuestAddress at(GuestAddress ring, uint64_t offset) {
  return GuestAddress{ring.value + offset};
}

std::unexpected<Error> broken_rule(const char* rule) {
  return fail(std::string("virtqueue: ") + rule, EPROTO);
}

}  // namespace

Queue::Queue(const GuestMemory& memory, const QueueConfig& config, uint64_t features)
    : memory_(&memory),
      config_(config),
      event_index_(features & kFeatureEventIdx),
      indirect_(features & kFeatureIndirectDesc) {}

Result<Queue> Queue::create(const GuestMemory& memory, const QueueConfig& config, uint64_t features) {
  if (!std::has_single_bit(config.size) || config.size > kMaxSize) return broken_rule("size is not a power of two");
  // 2.7: alignment and size of the three parts.
  if (config.descriptors.value % 16 != 0) return broken_rule("descriptor table is misaligned");
  if (config.driver_ring.value % 2 != 0) return broken_rule("available ring is misaligned");
  if (config.device_ring.value % 4 != 0) return broken_rule("used ring is misaligned");
  const size_t size = config.size;
  TRY_CONTEXT(memory.slice(config.descriptors, sizeof(Descriptor) * size), "virtqueue: descriptor table");
  TRY_CONTEXT(memory.slice(config.driver_ring, 6 + sizeof(uint16_t) * size), "virtqueue: available ring");
  TRY_CONTEXT(memory.slice(config.device_ring, 6 + sizeof(UsedElement) * size), "virtqueue: used ring");
  return Queue(memory, config, features);
}

Result<std::optional<Chain>> Queue::pop() {
  if (memory_ == nullptr) return std::optional<Chain>();
  if (broken_) return broken_rule("broken by its driver");
  auto chain = take();
  if (!chain) broken_ = true;
  return chain;
}

Result<std::optional<Chain>> Queue::take() {
  uint16_t index = TRY(memory_->load_acquire_u16(at(config_.driver_ring, kRingIndex)));
  uint16_t pending = static_cast<uint16_t>(index - next_available_);
  if (pending == 0) return std::optional<Chain>();
  if (pending > config_.size) return broken_rule("more available buffers than the queue holds");
  uint64_t slot = next_available_ % config_.size;
  uint16_t head = TRY(memory_->load_acquire_u16(at(config_.driver_ring, kRingEntries + sizeof(uint16_t) * slot)));
  Chain chain = TRY(follow(head));
  next_available_++;
  return std::optional<Chain>(std::move(chain));
}

// Walks a chain once. Every step copies one descriptor; `visited` bounds the steps, so a loop ends as "too long".
Result<Chain> Queue::follow(uint16_t head) {
  std::vector<iovec> readable;
  std::vector<iovec> writable;
  GuestAddress table = config_.descriptors;
  uint32_t entries = config_.size;
  bool in_indirect = false;
  bool seen_writable = false;
  uint64_t bytes = 0;
  uint32_t visited = 0;
  for (uint16_t index = head;;) {
    if (index >= entries) return broken_rule("descriptor index out of range");
    auto descriptor = TRY(memory_->load<Descriptor>(at(table, sizeof(Descriptor) * index)));
    if (descriptor.flags & kDescIndirect) {
      // 2.7.5.3: only if negotiated, not nested, and nothing follows in the outer table.
      if (!indirect_) return broken_rule("indirect descriptor without the feature");
      if (in_indirect) return broken_rule("indirect table inside an indirect table");
      if (descriptor.flags & kDescNext) return broken_rule("indirect descriptor with a next one");
      if (descriptor.length == 0 || descriptor.length % sizeof(Descriptor) != 0) {
        return broken_rule("length of an indirect table");
      }
      entries = descriptor.length / sizeof(Descriptor);
      if (entries > config_.size) return broken_rule("indirect table longer than the queue");
      table = GuestAddress{descriptor.address};
      TRY(memory_->slice(table, descriptor.length));
      in_indirect = true;
      index = 0;
      continue;
    }
    if (++visited > config_.size) return broken_rule("chain longer than the queue, or a loop");
    bytes += descriptor.length;
    if (bytes > kMaxChainBytes) return broken_rule("chain of more than 4 GiB");
    bool write = descriptor.flags & kDescWrite;
    if (seen_writable && !write) return broken_rule("readable buffer after a writable one");  // 2.7.4.2
    seen_writable = write;
    // An empty buffer is useless but allowed; its address means nothing.
    if (descriptor.length > 0) {
      iovec buffer = TRY(memory_->slice(GuestAddress{descriptor.address}, descriptor.length));
      (write ? writable : readable).push_back(buffer);
    }
    if (!(descriptor.flags & kDescNext)) break;
    index = descriptor.next;
  }
  Chain chain;
  chain.head = head;
  chain.reader = Reader(std::move(readable));
  chain.writer = Writer(std::move(writable));
  return chain;
}

Result<void> Queue::push(const Chain& chain, uint32_t written) {
  const UsedChain used{.head = chain.head, .written = written};
  return push(std::span(&used, 1));
}

Result<void> Queue::push(std::span<const UsedChain> chains) {
  if (memory_ == nullptr) return fail("virtqueue: a chain for a queue that is not there", EINVAL);
  for (const UsedChain& chain : chains) {
    uint64_t slot = next_used_ % config_.size;
    TRY(memory_->store(at(config_.device_ring, kRingEntries + sizeof(UsedElement) * slot),
                       UsedElement{chain.head, chain.written}));
    next_used_++;
    unsignalled_++;
  }
  return memory_->store_release_u16(at(config_.device_ring, kRingIndex), next_used_);
}

bool Queue::needs_interrupt() {
  uint64_t pushed = std::exchange(unsignalled_, 0);
  if (pushed == 0) return false;
  // The used index must be visible before the driver's wish is read, or both sides could wait (2.7.7.2, 2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint64_t place = event_index_ ? kRingEntries + sizeof(uint16_t) * config_.size : 0;
  auto wish = memory_->load_acquire_u16(at(config_.driver_ring, place));
  if (!wish) return true;  // create() has checked the ring: it cannot fail, and an interrupt too many harms nobody
  if (!event_index_) return !(*wish & kAvailNoInterrupt);
  // Did the used index pass used_event since the last time? A batch that went all the way round did for certain.
  uint16_t behind = static_cast<uint16_t>(next_used_ - *wish - 1);
  return pushed > UINT16_MAX || behind < pushed;
}

void Queue::enable_notifications() {
  if (memory_ == nullptr) return;
  if (event_index_) {
    static_cast<void>(memory_->store_release_u16(
        at(config_.device_ring, kRingEntries + sizeof(UsedElement) * config_.size), next_available_));
  } else {
    static_cast<void>(memory_->store_release_u16(config_.device_ring, 0));
  }
  // The wish must be visible before the available index is looked at again (2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Queue::disable_notifications() {
  if (memory_ == nullptr || event_index_) return;  // the driver notifies once per enable_notifications()
  static_cast<void>(memory_->store_release_u16(config_.device_ring, kUsedNoNotify));
}

QueueState Queue::state() const {
  return {.next_available = next_available_, .next_used = next_used_, .unsignalled = unsignalled_, .broken = broken_};
}

Result<void> Queue::restore(const QueueState& state) {
  if (memory_ == nullptr) {
    if (state != QueueState{}) return broken_rule("a place in a queue that is not there");
    return {};
  }
  next_available_ = state.next_available;
  next_used_ = state.next_used;
  unsignalled_ = state.unsignalled;
  broken_ = state.broken;
  if (broken_) return {};  // nothing is taken from it or given back to it
  if (in_flight() > config_.size) return broken_rule("more chains in flight than the queue holds");
  uint16_t available = TRY(memory_->load_acquire_u16(at(config_.driver_ring, kRingIndex)));
  uint16_t used = TRY(memory_->load_acquire_u16(at(config_.device_ring, kRingIndex)));
  if (static_cast<uint16_t>(available - next_available_) > config_.size || used != next_used_) {
    return broken_rule("a place that is not the ring's");
  }
  return {};
}

Result<Chain> Queue::retake(uint16_t head) {
  if (memory_ == nullptr || broken_) return broken_rule("a chain of a queue that is not in use");
  return follow(head);
}

void QueueState::save(StateWriter& state) const {
  state.u16(next_available);
  state.u16(next_used);
  state.u64(unsignalled);
  state.boolean(broken);
}

Result<QueueState> QueueState::restore(StateReader& state) {
  QueueState queue;
  queue.next_available = TRY(state.u16());
  queue.next_used = TRY(state.u16());
  queue.unsignalled = TRY(state.u64());
  queue.broken = TRY(state.boolean());
  return queue;
}

}  // namespace nacre::virtio
