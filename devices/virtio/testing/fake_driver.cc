// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/testing/fake_driver.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

namespace nacre::testing {

namespace {

constexpr uint16_t kNoInterrupt = 1;
constexpr uint16_t kNoNotify = 1;
constexpr std::byte kUntouched{0xee};

struct UsedElement {
  uint32_t id;
  uint32_t length;
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::logic_error("fake driver: " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

GuestAddress at(GuestAddress base, uint64_t offset) {
  return GuestAddress{base.value + offset};
}

}  // namespace

Bytes bytes_of(std::string_view text) {
  auto view = std::as_bytes(std::span(text));
  return Bytes(view.begin(), view.end());
}

void RecordingInterrupt::count(uint64_t& counter) {
  std::lock_guard lock(mutex_);
  counter++;
  changed_.notify_all();
}

uint64_t RecordingInterrupt::get(const uint64_t& counter) const {
  std::lock_guard lock(mutex_);
  return counter;
}

bool RecordingInterrupt::wait_used_beyond(uint64_t seen, std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [&] { return used_ != seen || broken_ > 0; });
  return used_ != seen;
}

bool RecordingInterrupt::wait_broken(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return broken_ > 0; });
}

GuestAddress Allocator::allocate(uint64_t size, uint64_t alignment) {
  uint64_t rounded = std::bit_ceil(std::max<uint64_t>(size, 16));
  auto& list = free_[rounded];
  for (auto block = list.begin(); block != list.end(); ++block) {
    if (*block % alignment != 0) continue;
    GuestAddress address{*block};
    list.erase(block);
    return address;
  }
  uint64_t start = (next_ + alignment - 1) / alignment * alignment;
  if (start > end_ || rounded > end_ - start) throw std::logic_error("fake driver: guest memory is used up");
  next_ = start + rounded;
  return GuestAddress{start};
}

void Allocator::free(GuestAddress address, uint64_t size) {
  free_[std::bit_ceil(std::max<uint64_t>(size, 16))].push_back(address.value);
}

FakeQueue::FakeQueue(FakeDriver& driver, uint16_t size) : driver_(driver), kick_(must(make_eventfd())) {
  config_.size = size;
  config_.descriptors = driver.allocator_.allocate(16ull * size, 16);
  config_.driver_ring = driver.allocator_.allocate(6 + 2ull * size, 2);
  config_.device_ring = driver.allocator_.allocate(6 + 8ull * size, 4);
  for (uint32_t i = size; i-- > 0;) free_descriptors_.push_back(static_cast<uint16_t>(i));
}

uint16_t FakeQueue::add(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable, Layout layout) {
  const size_t count = readable.size() + writable.size();
  const size_t slots = layout == Layout::indirect ? 1 : count;
  if (count == 0) throw std::logic_error("fake driver: a chain without buffers");
  if (free_descriptors_.size() < slots) throw std::logic_error("fake driver: no free descriptors");
  InFlight request;
  std::vector<RawDescriptor> chain;
  auto append = [&](uint32_t size, uint16_t flags) {
    Block block{driver_.allocator_.allocate(size), size};
    request.blocks.push_back(block);
    chain.push_back({block.address.value, size, flags, 0});
    return block;
  };
  for (const Bytes& content : readable) {
    Block block = append(static_cast<uint32_t>(content.size()), 0);
    must(driver_.memory_.write(block.address, content));
  }
  for (uint32_t size : writable) {
    Block block = append(size, kWrite);
    must(driver_.memory_.write(block.address, Bytes(size, kUntouched)));
    request.writable.push_back(block);
  }
  for (size_t i = 0; i < slots; i++) {
    request.descriptors.push_back(free_descriptors_.back());
    free_descriptors_.pop_back();
  }
  for (size_t i = 0; i + 1 < count; i++) {
    chain[i].flags |= kNext;
    chain[i].next = layout == Layout::indirect ? static_cast<uint16_t>(i + 1) : request.descriptors[i + 1];
  }
  const uint16_t head = request.descriptors[0];
  if (layout == Layout::indirect) {
    auto table_size = static_cast<uint32_t>(chain.size() * sizeof(RawDescriptor));
    GuestAddress table = write_table(chain);
    request.blocks.push_back({table, table_size});
    write_descriptor(head, {table.value, table_size, kIndirect, 0});
  } else {
    for (size_t i = 0; i < count; i++) write_descriptor(request.descriptors[i], chain[i]);
  }
  in_flight_[head] = std::move(request);
  return head;
}

void FakeQueue::make_available(std::span<const uint16_t> heads) {
  uint16_t index = available_index_;
  for (uint16_t head : heads) {
    uint64_t slot = index++ % config_.size;
    must(driver_.memory_.store_release_u16(at(config_.driver_ring, 4 + 2 * slot), head));
  }
  set_available_index(index);
}

bool FakeQueue::kick_if_wanted() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint16_t before = std::exchange(kicked_index_, available_index_);
  bool wanted;
  if (driver_.has(virtio::kFeatureEventIdx)) {
    uint16_t behind = static_cast<uint16_t>(available_index_ - available_event() - 1);
    wanted = behind < static_cast<uint16_t>(available_index_ - before);
  } else {
    wanted = !(used_flags() & kNoNotify);
  }
  if (wanted) kick();
  return wanted;
}

void FakeQueue::kick() {
  signal_eventfd(kick_.get());
}

uint16_t FakeQueue::send(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable, Layout layout) {
  uint16_t head = add(readable, writable, layout);
  make_available(head);
  kick_if_wanted();
  return head;
}

void FakeQueue::write_descriptor(uint16_t index, const RawDescriptor& descriptor) {
  must(driver_.memory_.store(at(config_.descriptors, sizeof(RawDescriptor) * index), descriptor));
}

GuestAddress FakeQueue::write_table(std::span<const RawDescriptor> table) {
  GuestAddress address = driver_.allocator_.allocate(table.size_bytes());
  must(driver_.memory_.write(address, std::as_bytes(table)));
  return address;
}

void FakeQueue::set_available_index(uint16_t index) {
  available_index_ = index;
  must(driver_.memory_.store_release_u16(at(config_.driver_ring, 2), index));
}

uint16_t FakeQueue::used_index() const {
  return must(driver_.memory_.load_acquire_u16(at(config_.device_ring, 2)));
}

uint16_t FakeQueue::used_flags() const {
  return must(driver_.memory_.load_acquire_u16(config_.device_ring));
}

uint16_t FakeQueue::available_event() const {
  return must(driver_.memory_.load_acquire_u16(at(config_.device_ring, 4 + 8ull * config_.size)));
}

void FakeQueue::set_no_interrupt(bool on) {
  must(driver_.memory_.store_release_u16(config_.driver_ring, on ? kNoInterrupt : 0));
}

void FakeQueue::set_used_event(uint16_t index) {
  must(driver_.memory_.store_release_u16(at(config_.driver_ring, 4 + 2ull * config_.size), index));
}

std::optional<Used> FakeQueue::pop_used() {
  if (!kept_.empty()) {
    Used used = std::move(kept_.front());
    kept_.erase(kept_.begin());
    return used;
  }
  if (used_index() == last_used_) return std::nullopt;
  uint64_t slot = last_used_ % config_.size;
  auto element = must(driver_.memory_.load<UsedElement>(at(config_.device_ring, 4 + sizeof(UsedElement) * slot)));
  last_used_++;
  Used used{static_cast<uint16_t>(element.id), element.length, {}};
  auto found = in_flight_.find(used.head);
  // Chains of raw descriptors are not recorded: what was written there is for the test to look up.
  if (found == in_flight_.end()) return used;
  for (const Block& block : found->second.writable) {
    Bytes part(std::min<size_t>(block.size, element.length - used.written.size()));
    must(driver_.memory_.read(block.address, part));
    used.written.insert(used.written.end(), part.begin(), part.end());
  }
  if (used.written.size() != element.length) {
    throw std::logic_error("device reported " + std::to_string(element.length) + " bytes in a chain with room for " +
                           std::to_string(used.written.size()));
  }
  for (uint16_t descriptor : found->second.descriptors) free_descriptors_.push_back(descriptor);
  for (const Block& block : found->second.blocks) driver_.allocator_.free(block.address, block.size);
  in_flight_.erase(found);
  return used;
}

std::optional<Used> FakeQueue::wait_used(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    uint64_t seen = driver_.interrupt_->used_count();
    set_used_event(last_used_);
    set_no_interrupt(false);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (auto used = pop_used()) return used;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !driver_.wait_interrupt(seen, left)) {
      if (used_index() != last_used_ && driver_.interrupt_->broken_count() == 0) {
        throw std::logic_error("device used a buffer and did not signal it");
      }
      return std::nullopt;
    }
  }
}

std::optional<Used> FakeQueue::wait_used_head(uint16_t head, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<Used> others;
  std::optional<Used> result;
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    auto used = wait_used(std::max(left, std::chrono::milliseconds(0)));
    if (!used) break;
    if (used->head == head) {
      result = std::move(used);
      break;
    }
    others.push_back(std::move(*used));
  }
  kept_.insert(kept_.begin(), std::make_move_iterator(others.begin()), std::make_move_iterator(others.end()));
  return result;
}

std::optional<Used> FakeQueue::request(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable,
                                       Layout layout) {
  return wait_used_head(send(readable, writable, layout));
}

FakeDriver::FakeDriver(Options options)
    : options_(std::move(options)),
      memory_(must(GuestMemory::anonymous(GuestAddress{options_.memory_start}, options_.memory_mib << 20))),
      allocator_(options_.memory_start + 0x1000, options_.memory_start + (options_.memory_mib << 20)),
      interrupt_(std::make_shared<RecordingInterrupt>()) {
  for (uint16_t size : options_.queue_sizes) queues_.push_back(std::make_unique<FakeQueue>(*this, size));
}

virtio::Activation FakeDriver::make_activation() {
  virtio::Activation activation{options_.features, {}, interrupt_};
  for (auto& queue : queues_) {
    activation.queues.push_back(
        {must(virtio::Queue::create(memory_, queue->config(), options_.features)), queue->kick_fd()});
  }
  return activation;
}

void FakeDriver::activate(virtio::VirtioDevice& device) {
  must(device.activate(make_activation()));
}

void FakeDriver::restart() {
  queues_.clear();
  // Everything before belongs to the device's last life: start over with zeroed memory.
  std::span<std::byte> memory = memory_.regions().front().mapping.bytes();
  std::memset(memory.data(), 0, memory.size());
  allocator_ = Allocator(options_.memory_start + 0x1000, options_.memory_start + (options_.memory_mib << 20));
  interrupt_ = std::make_shared<RecordingInterrupt>();
  for (uint16_t size : options_.queue_sizes) queues_.push_back(std::make_unique<FakeQueue>(*this, size));
}

bool FakeDriver::wait_interrupt(uint64_t seen, std::chrono::milliseconds limit) {
  if (!pump_) return interrupt_->wait_used_beyond(seen, limit);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    if (interrupt_->used_count() != seen) return true;
    if (interrupt_->broken_count() > 0) return false;
    pump_(10);
  } while (std::chrono::steady_clock::now() < deadline);
  return interrupt_->used_count() != seen;
}

}  // namespace nacre::testing
