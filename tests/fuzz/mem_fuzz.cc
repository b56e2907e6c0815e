// SPDX-License-Identifier: Apache-2.0
// Fuzzes virtio-mem: requests of the driver, sizes that the host asks for, and moves to a new device in between. The
// chunks that hold plugged blocks must be the open ones, and never may more be plugged than the largest size that was
// requested.
#include <map>
#include <source_location>

#include "devices/virtio/mem/device.h"
#include "devices/virtio/testing/fake_driver.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;

constexpr uint64_t kBlock = 2 << 20;
constexpr uint64_t kChunk = 4 * kBlock;
constexpr uint64_t kStart = 1ull << 32;
constexpr uint64_t kBlocks = 32;
constexpr size_t kMaxSteps = 300;

void check(bool condition, const std::source_location& where = std::source_location::current()) {
  fuzz::check(condition, "mem_fuzz.cc, line " + std::to_string(where.line()));
}

struct Chunks final : MemBackend {
  Result<void> open_chunk(uint64_t offset, uint64_t size) override {
    check(size == kChunk && offset % kChunk == 0 && offset < kBlocks * kBlock);
    check(open.emplace(offset, true).second);
    return {};
  }
  void close_chunk(uint64_t offset, uint64_t) override { check(open.erase(offset) == 1); }
  Result<void> discard(uint64_t offset, uint64_t size) override {
    check(offset + size <= kBlocks * kBlock);
    return {};
  }
  std::map<uint64_t, bool> open;
};

struct World {
  World() {
    driver.set_pump([this](int) { turn(); });
    make_device();
    driver.activate(*device);
  }
  ~World() { device->reset(); }

  void make_device() {
    device.reset();
    backend = {};
    blocks = std::make_shared<PluggedBlocks>(kBlock, kBlocks);
    device = MemDevice::create(*loop, backend, {.start = GuestAddress{kStart}, .chunk_size = kChunk, .blocks = blocks})
                 .value();
  }
  void turn() { check(loop->run_once(0).has_value()); }
  void move() {
    device->pause();
    StateWriter state;
    check(device->save(state).has_value());
    uint64_t requested = device->requested_size(), plugged = device->plugged_size();
    make_device();
    device->pause();
    StateReader reader(state.content());
    check(device->restore(reader).has_value());
    check(device->requested_size() == requested && device->plugged_size() == plugged);
    check(device->activate(driver.make_activation()).has_value());
    device->resume();
  }
  void check_all() const {
    check(device->plugged_size() == blocks->count(0, kBlocks) * kBlock);
    check(device->plugged_size() <= most_requested);
    for (uint64_t chunk = 0; chunk < kBlocks * kBlock / kChunk; chunk++) {
      uint64_t per_chunk = kChunk / kBlock;
      check((blocks->count(chunk * per_chunk, per_chunk) != 0) == backend.open.contains(chunk * kChunk));
    }
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16}}};
  Chunks backend;
  std::shared_ptr<PluggedBlocks> blocks;
  std::unique_ptr<MemDevice> device;
  uint64_t most_requested = 0;
};

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 8) {
    case 0: {
      uint64_t size = input.take<uint8_t>() * kBlock;
      if (world.device->request_size(size)) world.most_requested = std::max(world.most_requested, size);
      return;
    }
    case 1:
      return world.move();
    case 2: {
      world.device->reset();
      world.driver.restart();
      return world.driver.activate(*world.device);
    }
    case 3: {
      // Send anything at all, in a chain of any size.
      auto bytes = input.bytes(input.take<uint8_t>());
      world.driver.queue(0).send({testing::Bytes(bytes.begin(), bytes.end())}, {uint32_t{input.take<uint8_t>()}});
      return;
    }
    default: {
      mem::Request request{.type = static_cast<mem::RequestType>(input.take<uint8_t>() % 5),
                           .padding = {},
                           .addr = kStart + input.take<uint8_t>() * kBlock,
                           .nb_blocks = input.take<uint8_t>(),
                           .padding2 = {}};
      world.driver.queue(0).send({testing::bytes_of_object(request)}, {sizeof(mem::Response)});
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  World world;
  fuzz::Input input(data, size);
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) {
    try {
      step(world, input);
    } catch (const std::logic_error&) {
      // The step made an empty chain, which the driver does not send.
    }
    world.turn();
    while (world.driver.queue(0).pop_used()) {
    }
    world.check_all();
  }
  return 0;
}
