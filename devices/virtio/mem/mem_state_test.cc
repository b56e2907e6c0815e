// SPDX-License-Identifier: Apache-2.0
// Tests the saved state of virtio-mem: saved in the middle of work, cut short, with flipped bits, and made by hand.
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>

#include "devices/virtio/mem/device.h"
#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/testing/hostile_state.h"

namespace nacre::virtio::saved_mem {
namespace {

using mem::Request;
using mem::RequestType;
using mem::Response;
using mem::ResponseType;
using testing::bytes_of_object;

constexpr uint64_t kBlock = 2 << 20;
constexpr uint64_t kChunk = 4 * kBlock;
constexpr uint64_t kStart = 1ull << 32;
constexpr uint64_t kChunks = 3;

struct OpenChunks final : MemBackend {
  Result<void> open_chunk(uint64_t offset, uint64_t size) override {
    BOOST_REQUIRE((size == kChunk && offset % kChunk == 0 && offset / kChunk < kChunks));
    if (offset / kChunk == refused) return fail("no memory", ENOMEM);
    BOOST_REQUIRE(open.emplace(offset / kChunk, true).second);
    return {};
  }
  void close_chunk(uint64_t offset, uint64_t) override { BOOST_REQUIRE(open.erase(offset / kChunk) == 1u); }
  Result<void> discard(uint64_t, uint64_t) override { return {}; }

  std::map<uint64_t, bool> open;
  uint64_t refused = UINT64_MAX;
};

// A device with a host's side of its own. Several instances share a loop and a driver.
struct Instance {
  explicit Instance(EventLoop& loop, uint64_t chunks = kChunks)
      : blocks(std::make_shared<PluggedBlocks>(kBlock, chunks * kChunk / kBlock)),
        device(MemDevice::create(loop, backend, {.start = GuestAddress{kStart}, .chunk_size = kChunk, .blocks = blocks})
                   .value()) {}

  OpenChunks backend;
  std::shared_ptr<PluggedBlocks> blocks;
  std::unique_ptr<MemDevice> device;
};

struct SavedMem {
  SavedMem() {
    driver.set_pump([this](int timeout_ms) { BOOST_REQUIRE(loop->run_once(timeout_ms)); });
  }

  static testing::Bytes request(RequestType type, uint64_t block, uint16_t count) {
    return bytes_of_object(
        Request{.type = type, .padding = {}, .addr = kStart + block * kBlock, .nb_blocks = count, .padding2 = {}});
  }
  ResponseType answer(const testing::Used& used) {
    Response response;
    BOOST_REQUIRE(used.written.size() == sizeof(response));
    std::memcpy(&response, used.written.data(), sizeof(response));
    return response.type;
  }
  ResponseType ask(RequestType type, uint64_t block, uint16_t count) {
    auto used = driver.queue(0).request({request(type, block, count)}, {sizeof(Response)});
    BOOST_REQUIRE(used.has_value());
    return answer(*used);
  }

  // Requests nine of twelve blocks. Plugs one block of the first chunk and two of the last chunk.
  void work(Instance& old) {
    driver.activate(*old.device);
    BOOST_REQUIRE(old.device->request_size(9 * kBlock).has_value());
    BOOST_REQUIRE((ask(RequestType::plug, 1, 1) == ResponseType::ack));
    BOOST_REQUIRE((ask(RequestType::plug, 9, 2) == ResponseType::ack));
  }
  std::vector<std::byte> save(Instance& old) {
    old.device->pause();
    StateWriter state;
    BOOST_REQUIRE(old.device->save(state).has_value());
    return state.content();
  }
  Result<void> restore(Instance& there, std::span<const std::byte> state) {
    there.device->pause();
    StateReader reader(state);
    TRY(there.device->restore(reader));
    TRY(reader.end());
    return there.device->activate(driver.make_activation());
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {8}}};
};

BOOST_FIXTURE_TEST_SUITE(mem_state, SavedMem)

BOOST_AUTO_TEST_CASE(a_device_at_work_goes_on_in_a_new_one) {
  Instance there(*loop);
  uint16_t heads[3];
  {
    Instance old(*loop);
    work(old);
    auto& queue = driver.queue(0);
    heads[0] = queue.send({request(RequestType::plug, 4, 2)}, {sizeof(Response)});
    old.device->pause();
    heads[1] = queue.send({request(RequestType::unplug, 1, 1)}, {sizeof(Response)});
    BOOST_REQUIRE(loop->run_once(0));
    BOOST_TEST(queue.used_index() == 2u);  // nothing is done while the device is paused
    BOOST_REQUIRE(restore(there, save(old)).has_value());
  }
  BOOST_TEST(there.device->requested_size() == 9 * kBlock);
  BOOST_TEST(there.device->plugged_size() == 3 * kBlock);
  BOOST_TEST((there.backend.open == std::map<uint64_t, bool>{{0, true}, {2, true}}));
  BOOST_TEST((there.blocks->hold(kBlock, kBlock) && there.blocks->hold(9 * kBlock, 2 * kBlock)));
  BOOST_TEST(there.blocks->count(0, 12) == 3u);
  heads[2] = driver.queue(0).send({request(RequestType::plug, 6, 1)}, {sizeof(Response)});
  BOOST_TEST(driver.queue(0).used_index() == 2u);
  there.device->resume();
  for (uint16_t head : heads) {
    auto used = driver.queue(0).wait_used();
    BOOST_REQUIRE(used.has_value());
    BOOST_TEST(used->head == head);
    BOOST_TEST((answer(*used) == ResponseType::ack));
  }
  BOOST_TEST(driver.queue(0).used_index() == 5u);
  BOOST_TEST(there.device->plugged_size() == 5 * kBlock);
  BOOST_TEST((there.backend.open == std::map<uint64_t, bool>{{1, true}, {2, true}}));
}

BOOST_AUTO_TEST_CASE(a_device_without_a_driver_keeps_what_was_requested) {
  Instance old(*loop), there(*loop);
  BOOST_REQUIRE(old.device->request_size(kBlock).has_value());
  auto state = save(old);
  there.device->pause();
  StateReader reader(state);
  BOOST_REQUIRE(there.device->restore(reader).has_value());
  there.device->resume();
  BOOST_TEST(there.device->requested_size() == kBlock);
  driver.activate(*there.device);
  BOOST_TEST((ask(RequestType::plug, 0, 1) == ResponseType::ack));
}

BOOST_AUTO_TEST_CASE(a_pause_loses_no_request) {
  Instance one(*loop);
  work(one);
  one.device->pause();
  driver.queue(0).send({request(RequestType::plug, 4, 1)}, {sizeof(Response)});
  BOOST_REQUIRE(loop->run_once(0));
  BOOST_TEST(driver.queue(0).used_index() == 2u);
  one.device->resume();
  BOOST_TEST(driver.queue(0).wait_used().has_value());
}

BOOST_AUTO_TEST_CASE(a_broken_device_stays_broken) {
  Instance old(*loop), there(*loop);
  work(old);
  driver.queue(0).set_available_index(1000);
  driver.queue(0).kick();
  BOOST_REQUIRE(loop->run_once(1000));
  BOOST_REQUIRE(driver.interrupt().broken_count() == 1u);
  BOOST_REQUIRE(restore(there, save(old)).has_value());
  there.device->resume();
  driver.queue(0).kick();
  BOOST_REQUIRE(loop->run_once(0));
  BOOST_TEST(driver.queue(0).used_index() == 2u);
  there.device->reset();
  driver.restart();
  driver.activate(*there.device);
  BOOST_TEST((ask(RequestType::unplug, 1, 1) == ResponseType::ack));
}

BOOST_AUTO_TEST_CASE(what_the_host_refuses_is_an_error_that_leaves_nothing_open) {
  Instance old(*loop), there(*loop);
  work(old);
  there.backend.refused = 2;
  BOOST_TEST(!restore(there, save(old)).has_value());
  BOOST_TEST(there.backend.open.empty());
  BOOST_TEST(there.device->plugged_size() == 0u);
  BOOST_TEST(there.blocks->count(0, 12) == 0u);
}

BOOST_AUTO_TEST_CASE(another_region_or_one_in_use_is_refused) {
  Instance old(*loop), smaller(*loop, 2), used(*loop);
  work(old);
  auto state = save(old);
  BOOST_TEST(!restore(smaller, state).has_value());
  BOOST_TEST(!restore(old, state).has_value());
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  Instance old(*loop);
  work(old);
  testing::each_truncation(save(old), [&](std::span<const std::byte> state) {
    Instance there(*loop);
    BOOST_TEST(!restore(there, state).has_value());
    BOOST_TEST(there.backend.open.empty());
  });
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_refused_or_harmless) {
  Instance old(*loop);
  work(old);
  driver.queue(0).send({request(RequestType::state, 1, 1)}, {sizeof(Response)});
  auto saved = save(old);
  testing::MemoryContent content(driver.memory());
  testing::each_flipped_bit(saved, [&](std::span<const std::byte> state) {
    content.put_back();
    Instance there(*loop);
    if (restore(there, state)) {
      there.device->resume();
      BOOST_REQUIRE(loop->run_once(0));
    }
    BOOST_TEST(there.device->plugged_size() == there.blocks->count(0, 12) * kBlock);
    BOOST_TEST(there.device->requested_size() <= there.device->region_size());
    there.device->reset();
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::saved_mem
