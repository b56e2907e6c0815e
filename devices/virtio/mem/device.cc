#include "devices/virtio/mem/device.h"

#include <array>

#include "devices/virtio/config_space.h"

namespace nacre::virtio {

using mem::Request;
using mem::RequestType;
using mem::Response;
using mem::ResponseType;

namespace {

constexpr std::array<uint16_t, 1> kQueueSizes{64};

// Requests of one round of the loop, so that other devices have their turn: each may take memory from the host, or give
// some back.
constexpr int kBudget = 16;

}  // namespace

struct MemDevice::Active {
  explicit Active(Activation activation)
      : ring(std::move(activation.queues[0].ring)),
        kick(activation.queues[0].kick),
        interrupt(std::move(activation.interrupt)) {}

  Queue ring;
  int kick;
  std::shared_ptr<Interrupt> interrupt;
  bool broken = false;
};

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
  device->again_ = TRY(make_eventfd());
  TRY(loop.add(device->again_.get(), EPOLLIN, [device = device.get()](uint32_t) {
    drain_eventfd(device->again_.get());
    device->turn();
  }));
  return device;
}

MemDevice::~MemDevice() {
  stop();
  if (again_) loop_.remove(again_.get());
}

std::span<const uint16_t> MemDevice::queue_max_sizes() const {
  return kQueueSizes;
}

void MemDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  mem::Config config{};
  config.block_size = blocks_->block_size();
  config.addr = start_.value;
  config.region_size = region_size();
  // What is not plugged is not there, so nothing is gained by showing less of the region.
  config.usable_region_size = config.region_size;
  {
    std::lock_guard lock(mutex_);
    config.plugged_size = plugged_;
    config.requested_size = requested_;
  }
  read_config_space(config, offset, data);
}

Result<void> MemDevice::activate(Activation activation) {
  Result<void> result;
  loop_.post_and_wait([&] { result = start(std::move(activation)); });
  return result;
}

void MemDevice::reset() {
  loop_.post_and_wait([this] { stop(); });
}

Result<void> MemDevice::start(Activation activation) {
  if (active_ || activation.queues.size() != kQueueSizes.size()) return fail("virtio-mem: bad activation");
  active_ = std::make_unique<Active>(std::move(activation));
  auto watched = loop_.add(active_->kick, EPOLLIN, [this](uint32_t) {
    drain_eventfd(active_->kick);
    turn();
  });
  if (!watched) {
    active_.reset();
    return watched;
  }
  turn();
  return {};
}

void MemDevice::stop() {
  if (!active_) return;
  loop_.remove(active_->kick);
  active_.reset();
}

Result<void> MemDevice::request_size(uint64_t size) {
  if (size % blocks_->block_size() != 0 || size > region_size())
    return fail("virtio-mem: not a size of memory", EINVAL);
  {
    std::lock_guard lock(mutex_);
    if (requested_ == size) return {};
    requested_ = size;
  }
  if (active_) active_->interrupt->config_changed();
  return {};
}

uint64_t MemDevice::requested_size() const {
  std::lock_guard lock(mutex_);
  return requested_;
}

uint64_t MemDevice::plugged_size() const {
  std::lock_guard lock(mutex_);
  return plugged_;
}

void MemDevice::turn() {
  if (!active_ || active_->broken) return;
  bool pushed = false;
  int budget = kBudget;
  for (; budget > 0; budget--) {
    auto chain = active_->ring.pop();
    if (chain && !*chain) {
      active_->ring.enable_notifications();
      chain = active_->ring.pop();  // one may have come in between
      if (chain && !*chain) break;
    }
    if (!chain) {
      active_->broken = true;
      break;
    }
    uint32_t written = 0;
    // Without room for the answer nothing is done: the driver would not know.
    auto request = (*chain)->reader.read_object<Request>();
    if (request && (*chain)->writer.remaining() >= sizeof(Response)) {
      if ((*chain)->writer.write_object(answer(*request))) written = sizeof(Response);
    }
    if (!active_->ring.push(**chain, written)) active_->broken = true;
    pushed = true;
  }
  if (pushed && active_->ring.needs_interrupt()) active_->interrupt->queue_used(0);
  if (active_->broken) {
    active_->interrupt->device_broken();
    loop_.remove(active_->kick);
    return;
  }
  if (budget == 0) signal_eventfd(again_.get());
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

// None: the range is empty, not aligned, or not in the region (5.15.6.1).
std::optional<MemDevice::Range> MemDevice::range_of(const Request& request) const {
  uint64_t block = blocks_->block_size();
  if (request.addr < start_.value || request.nb_blocks == 0) return std::nullopt;
  uint64_t offset = request.addr - start_.value;
  if (offset % block != 0) return std::nullopt;
  Range range{.first = offset / block, .count = request.nb_blocks};
  // As numbers of blocks, so that no sum can wrap round.
  if (range.first >= blocks_->blocks() || range.count > blocks_->blocks() - range.first) return std::nullopt;
  return range;
}

ResponseType MemDevice::plug(const Range& range) {
  if (blocks_->count(range.first, range.count) != 0) return ResponseType::error;
  {
    std::lock_guard lock(mutex_);
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

// A driver that plugged a block here and a block there would have all of the chunks around them. Linux fills what is
// open first; the one to spare is for a start in the middle of one.
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
  std::lock_guard lock(mutex_);
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

// Those of [first, end) that hold nothing.
void MemDevice::close_chunks(uint64_t first, uint64_t end) {
  for (uint64_t chunk = first; chunk < end; chunk++) {
    if (plugged_in_chunk(chunk) == 0) backend_.close_chunk(chunk * chunk_size_, chunk_size_);
  }
}

void MemDevice::set_plugged(const Range& range, bool plugged) {
  uint64_t before = blocks_->count(range.first, range.count);
  blocks_->set(range.first, range.count, plugged);
  uint64_t block = blocks_->block_size();
  std::lock_guard lock(mutex_);
  plugged_ = plugged_ - before * block + (plugged ? range.count * block : 0);
}

}  // namespace nacre::virtio
