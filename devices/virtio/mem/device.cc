// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/mem/device.h"

#include <array>

#include "devices/virtio/config_space.h"

namespace nacre::virtio {

using mem::Request;
using mem::RequestType;
using mem::Response;
using mem::ResponseType;

namespace {

constexpr std::array<uint16_t, 1> kMemQueueSizes{64};

// The number of requests in one round of the loop, so that other devices have their turn. Each request may take memory
// from the host, or give some back.
constexpr size_t kMemBudget = 16;

constexpr uint16_t kMemStateVersion = 1;

}  // namespace

MemDevice::MemDevice(EventLoop& loop, MemBackend& backend, MemOptions options)
    : loop_(loop),
      backend_(backend),
      start_(options.start),
      chunk_size_(options.chunk_size),
      blocks_(std::move(options.blocks)) {}

Result<std::unique_ptr<MemDevice>> MemDevice::create(EventLoop& loop, MemBackend& backend, MemOptions options) {
  if (!options.blocks || options.blocks->blocks() == 0) return fail("virtio-mem: no region");
  uint64_t block = options.blocks->block_size(), region = block * options.blocks->blocks(), chunk = options.chunk_size;
  if (chunk == 0 || chunk % block != 0 || region % chunk != 0 || options.start.value % chunk != 0 ||
      options.start.value > UINT64_MAX - region) {
    return fail("virtio-mem: blocks, chunks and region do not fit together");
  }
  std::unique_ptr<MemDevice> device(new MemDevice(loop, backend, std::move(options)));
  device->worker_ = TRY(DeviceWorker::create(loop, "virtio-mem", *device));
  return device;
}

std::span<const uint16_t> MemDevice::queue_max_sizes() const {
  return kMemQueueSizes;
}

void MemDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  mem::Config config{};
  config.block_size = blocks_->block_size();
  config.addr = start_.value;
  config.region_size = region_size();
  // A block that is not plugged is not there, so showing less of the region would gain nothing.
  config.usable_region_size = config.region_size;
  {
    MutexLock lock(mutex_);
    config.plugged_size = plugged_;
    config.requested_size = requested_;
  }
  read_config_space(config, offset, data);
}

Result<void> MemDevice::activate(Activation activation) {
  if (activation.queues.size() != kMemQueueSizes.size()) return fail("virtio-mem: bad activation");
  return worker_->activate(std::move(activation));
}

void MemDevice::reset() {
  worker_->reset();
}

Result<void> MemDevice::request_size(uint64_t size) {
  if (size % blocks_->block_size() != 0 || size > region_size())
    return fail("virtio-mem: not a size of memory", EINVAL);
  {
    MutexLock lock(mutex_);
    if (requested_ == size) return {};
    requested_ = size;
  }
  if (worker_->is_active()) worker_->interrupt().config_changed();
  return {};
}

uint64_t MemDevice::requested_size() const {
  MutexLock lock(mutex_);
  return requested_;
}

uint64_t MemDevice::plugged_size() const {
  MutexLock lock(mutex_);
  return plugged_;
}

Result<bool> MemDevice::turn() {
  size_t served = TRY(worker_->serve(0, kMemBudget, [this](Chain chain) {
    uint32_t written = serve(chain);
    worker_->complete(0, chain, written);
  }));
  worker_->signal(0);
  return served == kMemBudget;
}

// Serves one request. Returns the size of the answer, or 0 if there is none.
uint32_t MemDevice::serve(Chain& chain) {
  auto request = chain.reader.read_object<Request>();
  // If there is no room for the answer, nothing is done: the driver would not know what was done.
  if (!request || chain.writer.remaining() < sizeof(Response)) return 0;
  return chain.writer.write_object(answer(*request)) ? sizeof(Response) : 0;
}

Response MemDevice::answer(const Request& request) {
  Response response{.type = ResponseType::error, .padding = {}, .state = 0};
  if (request.type == RequestType::unplug_all) {
    response.type = unplug_all();
    return response;
  }
  auto range = range_of(request);
  if (!range) return response;
  switch (request.type) {
    case RequestType::plug:
      response.type = plug(*range);
      break;
    case RequestType::unplug:
      response.type = unplug(*range);
      break;
    case RequestType::state:
      response.type = ResponseType::ack;
      response.state = state_of(*range);
      break;
    default:
      break;
  }
  return response;
}

// Returns the range of a request, or nothing if the range is empty, not aligned, or not in the region (5.15.6.1).
std::optional<MemDevice::Range> MemDevice::range_of(const Request& request) const {
  uint64_t block = blocks_->block_size();
  if (request.addr < start_.value || request.nb_blocks == 0) return std::nullopt;
  uint64_t offset = request.addr - start_.value;
  if (offset % block != 0) return std::nullopt;
  Range range{.first = offset / block, .count = request.nb_blocks};
  // Compare numbers of blocks, so that no sum can wrap around.
  if (range.first >= blocks_->blocks() || range.count > blocks_->blocks() - range.first) return std::nullopt;
  return range;
}

ResponseType MemDevice::plug(const Range& range) {
  if (blocks_->count(range.first, range.count) != 0) return ResponseType::error;
  {
    MutexLock lock(mutex_);
    uint64_t size = range.count * blocks_->block_size();
    if (plugged_ > requested_ || size > requested_ - plugged_) return ResponseType::nack;
  }
  if (!may_open(range)) return ResponseType::nack;
  if (!open_chunks(range)) return ResponseType::busy;
  set_plugged(range, true);
  return ResponseType::ack;
}

ResponseType MemDevice::unplug(const Range& range) {
  if (blocks_->count(range.first, range.count) != range.count) return ResponseType::error;
  uint64_t block = blocks_->block_size();
  if (!backend_.discard(range.first * block, range.count * block)) return ResponseType::busy;
  set_plugged(range, false);
  close_empty_chunks(range);
  return ResponseType::ack;
}

ResponseType MemDevice::unplug_all() {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  for (uint64_t chunk = 0; chunk < blocks_->blocks() / per_chunk; chunk++) {
    if (plugged_in_chunk(chunk) == 0) continue;
    if (!backend_.discard(chunk * chunk_size_, chunk_size_)) return ResponseType::busy;
    set_plugged({.first = chunk * per_chunk, .count = per_chunk}, false);
    backend_.close_chunk(chunk * chunk_size_, chunk_size_);
  }
  return ResponseType::ack;
}

uint16_t MemDevice::state_of(const Range& range) const {
  uint64_t plugged = blocks_->count(range.first, range.count);
  if (plugged == 0) return mem::kStateUnplugged;
  return plugged == range.count ? mem::kStatePlugged : mem::kStateMixed;
}

uint64_t MemDevice::plugged_in_chunk(uint64_t chunk) const {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  return blocks_->count(chunk * per_chunk, per_chunk);
}

// Limits the number of open chunks. Without this limit, a driver that plugs one block in each chunk would get all of
// the memory. Linux fills open chunks first. One chunk more than needed is allowed, since a driver may start in the
// middle of a chunk.
bool MemDevice::may_open(const Range& range) const {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  uint64_t first = range.first / per_chunk, last = (range.first + range.count - 1) / per_chunk;
  uint64_t open = 0, to_open = 0;
  for (uint64_t chunk = 0; chunk < blocks_->blocks() / per_chunk; chunk++) {
    if (plugged_in_chunk(chunk) != 0) {
      open++;
    } else if (chunk >= first && chunk <= last) {
      to_open++;
    }
  }
  MutexLock lock(mutex_);
  return to_open == 0 || open + to_open <= (requested_ + chunk_size_ - 1) / chunk_size_ + 1;
}

bool MemDevice::open_chunks(const Range& range) {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  uint64_t first = range.first / per_chunk, last = (range.first + range.count - 1) / per_chunk;
  for (uint64_t chunk = first; chunk <= last; chunk++) {
    if (plugged_in_chunk(chunk) != 0) continue;
    if (backend_.open_chunk(chunk * chunk_size_, chunk_size_)) continue;
    close_chunks(first, chunk);
    return false;
  }
  return true;
}

void MemDevice::close_empty_chunks(const Range& range) {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  close_chunks(range.first / per_chunk, (range.first + range.count - 1) / per_chunk + 1);
}

// Closes the chunks of [first, end) that hold no plugged block.
void MemDevice::close_chunks(uint64_t first, uint64_t end) {
  for (uint64_t chunk = first; chunk < end; chunk++) {
    if (plugged_in_chunk(chunk) == 0) backend_.close_chunk(chunk * chunk_size_, chunk_size_);
  }
}

void MemDevice::set_plugged(const Range& range, bool plugged) {
  uint64_t before = blocks_->count(range.first, range.count);
  blocks_->set(range.first, range.count, plugged);
  uint64_t block = blocks_->block_size();
  MutexLock lock(mutex_);
  plugged_ = plugged_ - before * block + (plugged ? range.count * block : 0);
}

Result<void> MemDevice::save(StateWriter& state) {
  return state.section("virtio-mem", kMemStateVersion, [&]() -> Result<void> {
    state.u64(start_.value);
    state.u64(chunk_size_);
    state.u64(blocks_->block_size());
    state.u64(blocks_->blocks());
    state.u64(requested_size());
    std::vector<std::byte> bits((blocks_->blocks() + 7) / 8);
    for (uint64_t i = 0; i < blocks_->blocks(); i++) {
      if (blocks_->count(i, 1) != 0) bits[i / 8] |= std::byte{1} << (i % 8);
    }
    state.bytes(bits);
    worker_->save(state);
    return {};
  });
}

Result<void> MemDevice::restore(StateReader& state) {
  StateReader fields = TRY(state.section("virtio-mem", kMemStateVersion));
  if (TRY(fields.u64()) != start_.value || TRY(fields.u64()) != chunk_size_ ||
      TRY(fields.u64()) != blocks_->block_size() || TRY(fields.u64()) != blocks_->blocks()) {
    return fields.invalid("it is of another region of memory");
  }
  uint64_t requested = TRY(fields.u64());
  if (requested % blocks_->block_size() != 0 || requested > region_size())
    return fields.invalid("not a size of memory");
  size_t size = (blocks_->blocks() + 7) / 8;
  auto bits = TRY(fields.bytes(size));
  unsigned last = blocks_->blocks() % 8;
  if (bits.size() != size || (last != 0 && std::to_integer<unsigned>(bits.back()) >> last != 0)) {
    return fields.invalid("blocks that the region does not have");
  }
  TRY(worker_->restore(fields));
  TRY(fields.end());
  Result<void> plugged;
  loop_.post_and_wait([&] { plugged = restore_blocks(bits); });
  TRY(std::move(plugged));
  MutexLock lock(mutex_);
  requested_ = requested;
  return {};
}

// Plugs the saved blocks, chunk by chunk. Plugs all or none: if the host cannot give memory for a chunk, restoring
// fails.
Result<void> MemDevice::restore_blocks(std::span<const std::byte> bits) {
  if (plugged_size() != 0) return fail("virtio-mem: memory is plugged already", EBUSY);
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  for (uint64_t chunk = 0; chunk < blocks_->blocks() / per_chunk; chunk++) {
    bool open = false;
    for (uint64_t i = chunk * per_chunk; i < (chunk + 1) * per_chunk; i++) {
      if ((bits[i / 8] >> (i % 8) & std::byte{1}) == std::byte{0}) continue;
      if (!open) {
        if (auto opened = backend_.open_chunk(chunk * chunk_size_, chunk_size_); !opened) {
          forget_blocks(chunk);
          return fail("virtio-mem: " + opened.error().message(), opened.error().code());
        }
      }
      open = true;
      set_plugged({.first = i, .count = 1}, true);
    }
  }
  return {};
}

// Undoes restore_blocks() for the chunks below `end`.
void MemDevice::forget_blocks(uint64_t end) {
  uint64_t per_chunk = chunk_size_ / blocks_->block_size();
  for (uint64_t chunk = 0; chunk < end; chunk++) {
    if (plugged_in_chunk(chunk) == 0) continue;
    set_plugged({.first = chunk * per_chunk, .count = per_chunk}, false);
    backend_.close_chunk(chunk * chunk_size_, chunk_size_);
  }
}

}  // namespace nacre::virtio
