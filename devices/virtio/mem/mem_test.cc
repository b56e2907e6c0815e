// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE mem
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>

#include "devices/virtio/mem/device.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio {
namespace {

using mem::Request;
using mem::RequestType;
using mem::Response;
using mem::ResponseType;
using testing::bytes_of_object;
using testing::FakeDriver;

constexpr uint64_t kBlock = 2 << 20;
constexpr uint64_t kChunk = 64 * kBlock;
constexpr uint64_t kStart = 1ull << 32;
constexpr uint64_t kChunks = 4;
constexpr uint64_t kBlocks = kChunks * kChunk / kBlock;

// Remembers which chunks are open, and what was given back.
class FakeBackend final : public MemBackend {
 public:
  Result<void> open_chunk(uint64_t offset, uint64_t size) override {
    BOOST_TEST(size == kChunk);
    BOOST_TEST(!open[offset / kChunk]);
    if (offset / kChunk == refuses_chunk) return fail("no memory", ENOMEM);
    open[offset / kChunk] = true;
    return {};
  }
  void close_chunk(uint64_t offset, uint64_t size) override {
    BOOST_TEST(size == kChunk);
    BOOST_TEST(open[offset / kChunk]);
    open[offset / kChunk] = false;
  }
  Result<void> discard(uint64_t offset, uint64_t size) override {
    if (refuses_discard) return fail("no", EINVAL);
    discarded[offset] = size;
    return {};
  }

  std::array<bool, kChunks> open{};
  std::map<uint64_t, uint64_t> discarded;
  uint64_t refuses_chunk = UINT64_MAX;
  bool refuses_discard = false;
};

struct Machine {
  Machine() {
    device = MemDevice::create(*loop, backend, {.start = GuestAddress{kStart}, .chunk_size = kChunk, .blocks = blocks})
                 .value();
    driver.set_pump([this](int timeout_ms) { BOOST_REQUIRE(loop->run_once(timeout_ms)); });
    driver.activate(*device);
  }

  Response send(const Request& request) {
    auto used = driver.queue(0).request({bytes_of_object(request)}, {sizeof(Response)});
    BOOST_REQUIRE(used);
    BOOST_REQUIRE_EQUAL(used->length, sizeof(Response));
    Response response;
    std::memcpy(&response, used->written.data(), sizeof(response));
    return response;
  }
  ResponseType ask(RequestType type, uint64_t addr = 0, uint16_t blocks_wanted = 0) {
    return send({.type = type, .padding = {}, .addr = addr, .nb_blocks = blocks_wanted, .padding2 = {}}).type;
  }
  ResponseType plug(uint64_t block, uint16_t count) { return ask(RequestType::plug, kStart + block * kBlock, count); }
  ResponseType unplug(uint64_t block, uint16_t count) {
    return ask(RequestType::unplug, kStart + block * kBlock, count);
  }
  uint16_t state(uint64_t block, uint16_t count) {
    Response response = send({.type = RequestType::state,
                              .padding = {},
                              .addr = kStart + block * kBlock,
                              .nb_blocks = count,
                              .padding2 = {}});
    BOOST_TEST((response.type == ResponseType::ack));
    return response.state;
  }
  mem::Config config() {
    mem::Config config;
    device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    return config;
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  FakeBackend backend;
  std::shared_ptr<PluggedBlocks> blocks = std::make_shared<PluggedBlocks>(kBlock, kBlocks);
  FakeDriver driver{{.queue_sizes = {64}}};
  std::unique_ptr<MemDevice> device;
};

bool operator==(ResponseType type, int value) {
  return static_cast<int>(type) == value;
}
constexpr int kAck = 0, kNack = 1, kBusy = 2, kError = 3;
#define ANSWER(request, wanted) BOOST_TEST(((request) == (wanted)))

BOOST_FIXTURE_TEST_SUITE(mem_device, Machine)

BOOST_AUTO_TEST_CASE(configuration_space) {
  BOOST_TEST(device->type() == 24u);
  BOOST_TEST(device->features() == 2u);
  mem::Config c = config();
  BOOST_TEST(c.block_size == kBlock);
  BOOST_TEST(c.addr == kStart);
  BOOST_TEST(c.region_size == kBlocks * kBlock);
  BOOST_TEST(c.usable_region_size == c.region_size);
  BOOST_TEST(c.plugged_size == 0u);
  BOOST_TEST(c.requested_size == 0u);
  BOOST_TEST(device->request_size(3 * kBlock).has_value());
  BOOST_TEST(config().requested_size == 3 * kBlock);
  BOOST_TEST(driver.interrupt().config_count() == 1u);
  BOOST_TEST(device->request_size(3 * kBlock).has_value());
  BOOST_TEST(driver.interrupt().config_count() == 1u);  // no change, so no interrupt
  for (uint64_t wrong : {kBlock + 1, (kBlocks + 1) * kBlock, UINT64_MAX}) {
    BOOST_TEST(!device->request_size(wrong).has_value());
  }
  std::array<std::byte, 8> beyond;
  beyond.fill(std::byte{1});
  device->read_config(UINT64_MAX, beyond);
  BOOST_TEST((beyond[0] == std::byte{0}));
}

BOOST_AUTO_TEST_CASE(plugs_and_unplugs) {
  BOOST_REQUIRE(device->request_size(100 * kBlock));
  ANSWER(plug(60, 10), kAck);
  BOOST_TEST((backend.open == std::array{true, true, false, false}));
  BOOST_TEST(device->plugged_size() == 10 * kBlock);
  BOOST_TEST(config().plugged_size == 10 * kBlock);
  BOOST_TEST(blocks->hold(60 * kBlock, 10 * kBlock));
  BOOST_TEST(state(60, 10) == mem::kStatePlugged);
  BOOST_TEST(state(59, 2) == mem::kStateMixed);
  BOOST_TEST(state(0, 60) == mem::kStateUnplugged);
  // The driver cannot plug more than was requested.
  ANSWER(plug(100, 91), kNack);
  ANSWER(plug(100, 90), kAck);
  ANSWER(plug(0, 1), kNack);
  // If the requested size shrinks, the driver has to unplug.
  BOOST_REQUIRE(device->request_size(10 * kBlock));
  ANSWER(unplug(100, 90), kAck);
  BOOST_TEST(backend.discarded[100 * kBlock] == 90 * kBlock);
  BOOST_TEST((backend.open == std::array{true, true, false, false}));
  ANSWER(unplug(64, 6), kAck);
  BOOST_TEST((backend.open == std::array{true, false, false, false}));
  BOOST_TEST(device->plugged_size() == 4 * kBlock);
  BOOST_TEST(!blocks->hold(64 * kBlock, 1));
}

BOOST_AUTO_TEST_CASE(a_block_in_each_chunk_is_too_much) {
  BOOST_REQUIRE(device->request_size(64 * kBlock));
  ANSWER(plug(0, 1), kAck);
  ANSWER(plug(64, 1), kAck);
  ANSWER(plug(128, 1), kNack);
  ANSWER(plug(120, 20), kNack);
  BOOST_TEST((backend.open == std::array{true, true, false, false}));
  ANSWER(plug(65, 62), kAck);
  // If open chunks are from a time of a larger request, they are no reason to refuse blocks that fit into them.
  BOOST_REQUIRE(device->request_size(200 * kBlock));
  ANSWER(plug(128, 1), kAck);
  ANSWER(plug(192, 1), kAck);
  BOOST_REQUIRE(device->request_size(100 * kBlock));
  ANSWER(plug(193, 30), kAck);
}

BOOST_AUTO_TEST_CASE(unplugs_all) {
  BOOST_REQUIRE(device->request_size(kBlocks * kBlock));
  ANSWER(plug(0, 1), kAck);
  ANSWER(plug(200, 3), kAck);
  ANSWER(ask(RequestType::unplug_all), kAck);
  BOOST_TEST(device->plugged_size() == 0u);
  BOOST_TEST((backend.open == std::array{false, false, false, false}));
  BOOST_TEST(backend.discarded.size() == 2u);
  ANSWER(ask(RequestType::unplug_all), kAck);  // nothing is plugged
  ANSWER(plug(0, kBlocks), kAck);
  BOOST_TEST((backend.open == std::array{true, true, true, true}));
}

BOOST_AUTO_TEST_CASE(ranges_that_make_no_sense) {
  BOOST_REQUIRE(device->request_size(kBlocks * kBlock));
  ANSWER(plug(10, 2), kAck);
  for (auto type : {RequestType::plug, RequestType::unplug, RequestType::state}) {
    ANSWER(ask(type, kStart, 0), kError);                            // an empty range
    ANSWER(ask(type, kStart + 4096, 1), kError);                     // not aligned
    ANSWER(ask(type, 0, 1), kError);                                 // below the region
    ANSWER(ask(type, kStart - kBlock, 2), kError);                   // begins below the region
    ANSWER(ask(type, kStart + kBlocks * kBlock, 1), kError);         // above the region
    ANSWER(ask(type, kStart + (kBlocks - 1) * kBlock, 2), kError);   // ends above the region
    ANSWER(ask(type, kStart, UINT16_MAX), kError);                   // ends far above the region
    ANSWER(ask(type, UINT64_MAX - kBlock + 1, UINT16_MAX), kError);  // wraps around
    ANSWER(ask(type, UINT64_MAX, 1), kError);
  }
  ANSWER(plug(9, 2), kError);   // one of these blocks is plugged
  ANSWER(plug(11, 1), kError);  // plugged twice
  ANSWER(unplug(11, 2), kError);
  ANSWER(unplug(0, 1), kError);
  for (int type : {4, 77, 0xffff}) ANSWER(ask(static_cast<RequestType>(type), kStart, 1), kError);
  BOOST_TEST(device->plugged_size() == 2 * kBlock);
  BOOST_TEST(blocks->count(0, kBlocks) == 2u);
  BOOST_TEST(backend.discarded.empty());
}

BOOST_AUTO_TEST_CASE(what_the_host_refuses_is_busy) {
  BOOST_REQUIRE(device->request_size(kBlocks * kBlock));
  backend.refuses_chunk = 1;
  ANSWER(plug(0, 100), kBusy);
  BOOST_TEST((backend.open == std::array{false, false, false, false}));
  BOOST_TEST(device->plugged_size() == 0u);
  ANSWER(plug(0, 1), kAck);
  ANSWER(plug(1, 100), kBusy);
  BOOST_TEST((backend.open == std::array{true, false, false, false}));
  backend.refuses_discard = true;
  ANSWER(unplug(0, 1), kBusy);
  ANSWER(ask(RequestType::unplug_all), kBusy);
  BOOST_TEST(device->plugged_size() == kBlock);
}

BOOST_AUTO_TEST_CASE(chains_that_are_no_request) {
  BOOST_REQUIRE(device->request_size(kBlocks * kBlock));
  Request request{.type = RequestType::plug, .padding = {}, .addr = kStart, .nb_blocks = 1, .padding2 = {}};
  auto whole = bytes_of_object(request);
  auto cut = whole;
  cut.resize(whole.size() - 1);
  auto answered = [&](std::vector<testing::Bytes> readable, std::vector<uint32_t> writable) {
    auto used = driver.queue(0).request(readable, writable);
    BOOST_REQUIRE(used);
    return used->length;
  };
  BOOST_TEST(answered({cut}, {64}) == 0u);
  BOOST_TEST(answered({whole}, {sizeof(Response) - 1}) == 0u);
  BOOST_TEST(answered({whole}, {}) == 0u);
  BOOST_TEST(answered({}, {64}) == 0u);
  BOOST_TEST(device->plugged_size() == 0u);
  // A request may come in pieces, with more descriptors and more room than needed.
  auto first = testing::Bytes(whole.begin(), whole.begin() + 3), rest = testing::Bytes(whole.begin() + 3, whole.end());
  BOOST_TEST(answered({first, rest, rest}, {3, 4, 100}) == sizeof(Response));
  BOOST_TEST(device->plugged_size() == kBlock);
}

BOOST_AUTO_TEST_CASE(many_requests_at_once) {
  BOOST_REQUIRE(device->request_size(kBlocks * kBlock));
  std::vector<uint16_t> heads;
  for (uint16_t i = 0; i < 30; i++) {
    Request request{
        .type = RequestType::plug, .padding = {}, .addr = kStart + i * kBlock, .nb_blocks = 1, .padding2 = {}};
    heads.push_back(driver.queue(0).add({bytes_of_object(request)}, {sizeof(Response)}));
  }
  driver.queue(0).make_available(heads);
  driver.queue(0).kick();
  for (uint16_t head : heads) BOOST_TEST(driver.queue(0).wait_used_head(head).has_value());
  BOOST_TEST(device->plugged_size() == 30 * kBlock);
}

BOOST_AUTO_TEST_CASE(a_broken_ring_breaks_the_device_only) {
  driver.queue(0).set_available_index(1000);
  driver.queue(0).kick();
  BOOST_REQUIRE(loop->run_once(1000));
  BOOST_TEST(driver.interrupt().broken_count() == 1u);
  device->reset();
  driver.restart();
  driver.activate(*device);
  BOOST_REQUIRE(device->request_size(kBlock));
  ANSWER(plug(0, 1), kAck);
}

BOOST_AUTO_TEST_CASE(a_reset_leaves_memory_plugged) {
  BOOST_REQUIRE(device->request_size(2 * kBlock));
  ANSWER(plug(0, 2), kAck);
  device->reset();
  BOOST_TEST(blocks->hold(0, 2 * kBlock));
  BOOST_REQUIRE(device->request_size(0));  // there is no driver to tell
  driver.restart();
  driver.activate(*device);
  BOOST_TEST(config().plugged_size == 2 * kBlock);
  ANSWER(ask(RequestType::unplug_all), kAck);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(regions_that_do_not_fit) {
  auto loop = EventLoop::create().value();
  FakeBackend backend;
  auto make = [&](uint64_t start, uint64_t chunk, uint64_t count) {
    auto blocks = std::make_shared<PluggedBlocks>(kBlock, count);
    return MemDevice::create(*loop, backend, {.start = GuestAddress{start}, .chunk_size = chunk, .blocks = blocks})
        .has_value();
  };
  BOOST_TEST(make(kStart, kChunk, kBlocks));
  BOOST_TEST(!make(kStart, kChunk, 0));
  BOOST_TEST(!make(kStart, 0, kBlocks));
  BOOST_TEST(!make(kStart, kChunk + 1, kBlocks));
  BOOST_TEST(!make(kStart, kChunk, kBlocks + 1));
  BOOST_TEST(!make(kStart + kBlock, kChunk, kBlocks));
  BOOST_TEST(!make(-kChunk, kChunk, kBlocks));
}

}  // namespace
}  // namespace nacre::virtio
