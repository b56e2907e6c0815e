// SPDX-License-Identifier: Apache-2.0
// Tests what a malicious guest may try. Nothing may crash or hang the device, and it must serve the next frame, or
// after a reset if the driver broke the rules of a queue.
#include <boost/test/unit_test.hpp>

#include "devices/virtio/net/testing/net_machine.h"

namespace nacre::virtio::net::net_hostile_test {
namespace {

using namespace nacre::testing;

// Each test ends with traffic.
struct Hostile : NetMachine {
  Hostile() { start(); }
  void teardown() {
    if (driver.interrupt().broken_count() > 0) restart();
    check_traffic();
  }
  void check_refused(const std::vector<Bytes>& readable, const std::vector<uint32_t>& writable = {}) {
    uint64_t before = device->transmitted().refused;
    auto used = tx().request(readable, writable);
    BOOST_REQUIRE(used.has_value());
    BOOST_TEST(used->length == 0u);
    BOOST_TEST(device->transmitted().refused == before + 1);
    BOOST_TEST(!network.receive().has_value());
    BOOST_TEST(driver.interrupt().broken_count() == 0u);
  }
  void wait_broken() {
    for (int i = 0; i < 100 && driver.interrupt().broken_count() == 0; i++) BOOST_REQUIRE(loop->run_once(100));
    BOOST_TEST(driver.interrupt().broken_count() == 1u);
    turn();
    BOOST_TEST(is_asleep());
  }
};

BOOST_FIXTURE_TEST_SUITE(net_hostile, Hostile)

BOOST_AUTO_TEST_CASE(chains_without_a_frame) {
  check_refused({Bytes(1)});
  check_refused({Bytes(11)});
  check_refused({Bytes(12)});
  check_refused({Bytes(12), Bytes(13)});
  check_refused({}, {2000});
  check_refused({Bytes(11)}, {2000});
}

BOOST_AUTO_TEST_CASE(frames_that_are_too_long) {
  Bytes frame = make_frame(kMaxFrame);
  auto sent = pass({}, frame);
  BOOST_REQUIRE(sent.has_value());
  BOOST_TEST((sent->frame == frame));
  check_refused({join({}, make_frame(kMaxFrame + 1))});
  check_refused({join({}, make_frame(1 << 20))});
  // The same buffer again and again: 255 MiB.
  uint64_t start = driver.memory().regions().front().start.value;
  std::vector<RawDescriptor> table(256, {.address = start, .length = 1 << 20, .flags = kNext, .next = 0});
  for (uint16_t i = 0; i < 256; i++) table[i].next = static_cast<uint16_t>(i + 1);
  table.back().flags = 0;
  uint64_t before = device->transmitted().refused;
  GuestAddress address = tx().write_table(table);
  tx().write_descriptor(0, {.address = address.value, .length = 256 * 16, .flags = kIndirect, .next = 0});
  tx().make_available(0);
  tx().kick();
  turn();
  BOOST_TEST(device->transmitted().refused == before + 1);
  BOOST_TEST(driver.interrupt().broken_count() == 0u);
  restart();
}

BOOST_AUTO_TEST_CASE(headers_that_make_no_sense) {
  Bytes frame = make_frame(4000);
  const Header good{.flags = kNeedsCsum,
                    .gso_type = kGsoTcp4,
                    .hdr_len = 54,
                    .gso_size = 1448,
                    .csum_start = 34,
                    .csum_offset = 16,
                    .num_buffers = 0};
  auto check = [&](auto change) {
    Header header = good;
    change(header);
    check_refused({join(header, frame)});
  };
  check([](Header& h) { h.gso_size = 0; });
  check([](Header& h) { h.hdr_len = 4001; });
  check([](Header& h) { h.csum_start = 3983; });
  check([](Header& h) { h.csum_offset = UINT16_MAX; });
  check([](Header& h) { h.gso_type = 2; });
  check([](Header& h) { h.gso_type = kGsoEcn; });
  check([](Header& h) { h.flags = 0; });
  // These are ignored.
  Header odd = good;
  odd.flags |= 0xfe;
  odd.num_buffers = 999;
  auto sent = pass(odd, frame);
  BOOST_REQUIRE(sent.has_value());
  BOOST_TEST(std::memcmp(&sent->header, &good, kNetHeader) == 0);
}

BOOST_AUTO_TEST_CASE(useless_receive_buffers) {
  // Too small for a header, and nothing to write at all.
  std::vector<uint16_t> heads;
  for (uint32_t size : {1u, 11u}) heads.push_back(offer({size}));
  heads.push_back(rx().send({Bytes(100)}, {}));
  heads.push_back(rx().send({Bytes(100)}, {5}));
  BOOST_REQUIRE(network.send({}, make_frame(100)));
  for (uint16_t head : heads) {
    auto used = rx().wait_used_head(head);
    BOOST_REQUIRE(used.has_value());
    BOOST_TEST(used->length == 0u);
  }
  BOOST_TEST(device->received().refused == 4u);
  // Just a header, then a byte that cannot be a buffer, then enough.
  offer({12});
  uint16_t small = offer({1});
  offer({88});
  BOOST_TEST(rx().wait_used_head(small).has_value());
  offer({12});
  auto received = take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->header.num_buffers == 3);
  BOOST_TEST((received->frame == make_frame(100)));
}

BOOST_AUTO_TEST_CASE(a_queue_full_of_useless_receive_buffers) {
  BOOST_REQUIRE(network.send({}, make_frame(100)));
  std::vector<uint16_t> heads;
  for (int i = 0; i < 256; i++) heads.push_back(rx().add({}, {1}));
  rx().make_available(heads);
  rx().kick();
  turn();
  BOOST_TEST(rx().used_index() == 256u);
  BOOST_TEST(is_asleep());
  for (int i = 0; i < 256; i++) BOOST_REQUIRE(rx().pop_used().has_value());
  offer({2048});
  auto received = take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST((received->frame == make_frame(100)));
}

BOOST_AUTO_TEST_CASE(receive_buffers_in_many_pieces) {
  // 256 buffers of 256 pieces each: more than one system call takes.
  uint64_t start = driver.memory().regions().front().start.value + (2 << 20);
  std::vector<RawDescriptor> table(256, {.address = start, .length = 1, .flags = kNext | kWrite, .next = 0});
  for (uint16_t i = 0; i < 256; i++) table[i].next = static_cast<uint16_t>(i + 1);
  table.back().flags = kWrite;
  GuestAddress address = rx().write_table(table);
  std::vector<uint16_t> heads;
  for (uint16_t i = 0; i < 256; i++) {
    rx().write_descriptor(i, {.address = address.value, .length = 256 * 16, .flags = kIndirect, .next = 0});
    heads.push_back(i);
  }
  rx().make_available(heads);
  rx().kick();
  BOOST_REQUIRE(network.send({}, make_frame(200)));
  BOOST_REQUIRE(network.send({}, make_frame(3000)));  // more than so many pieces hold
  BOOST_REQUIRE(network.send({}, make_frame(500)));
  turn();
  BOOST_TEST(device->received().frames == 2u);
  BOOST_TEST(device->received().dropped == 1u);
  BOOST_TEST(rx().used_index() == 3u);
  BOOST_TEST(driver.interrupt().broken_count() == 0u);
  restart();
}

BOOST_AUTO_TEST_CASE(frames_of_a_network_that_makes_no_sense) {
  for (int i = 0; i < 3; i++) offer({2048});
  for (size_t size : {1, 11, 12, 25}) BOOST_REQUIRE(network.send_raw(Bytes(size)));
  BOOST_REQUIRE(network.send({}, make_frame(kMaxFrame + 1)));
  BOOST_REQUIRE(network.send({}, make_frame(kMaxFrame + 1000)));
  BOOST_REQUIRE(network.send({}, make_frame(60)));
  auto received = take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST((received->frame == make_frame(60)));
  BOOST_TEST(device->received().dropped == 6u);
}

BOOST_AUTO_TEST_CASE(chains_that_loop) {
  for (size_t queue : {size_t{0}, size_t{1}}) {
    auto flags = static_cast<uint16_t>(kNext | (queue == 0 ? kWrite : 0));
    driver.queue(queue).write_descriptor(3, {.address = 0x10000000, .length = 16, .flags = flags, .next = 3});
    driver.queue(queue).make_available(3);
    driver.queue(queue).kick();
    BOOST_REQUIRE(network.send({}, make_frame(60)));
    wait_broken();
    restart();
    offer({2048});
    BOOST_TEST(take().has_value());
  }
}

BOOST_AUTO_TEST_CASE(rings_that_make_no_sense) {
  for (size_t queue : {size_t{0}, size_t{1}}) {
    driver.queue(queue).set_available_index(1000);
    driver.queue(queue).kick();
    BOOST_REQUIRE(network.send({}, make_frame(60)));
    wait_broken();
    // Nothing more is done with either queue.
    uint16_t used = driver.queue(1 - queue).used_index();
    driver.queue(1 - queue).send({Bytes(100)}, {100});
    driver.queue(1 - queue).kick();
    turn();
    BOOST_TEST(driver.queue(1 - queue).used_index() == used);
    restart();
    offer({2048});
    BOOST_TEST(take().has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_ring_that_breaks_while_frames_wait) {
  for (int i = 0; i < 30; i++) tx().send({join({}, make_frame(32 << 10))}, {});
  offer({100});
  BOOST_REQUIRE(network.send({}, make_frame(1000)));
  turn();
  rx().set_available_index(9999);
  rx().kick();
  wait_broken();
  while (network.receive()) {
  }
  turn();
  BOOST_TEST(is_asleep());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::net::net_hostile_test
