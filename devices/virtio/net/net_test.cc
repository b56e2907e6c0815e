// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE net
#include <boost/test/unit_test.hpp>

#include "base/loop_thread.h"
#include "devices/virtio/net/testing/net_machine.h"

namespace nacre::virtio::net::net_test {
namespace {

using namespace nacre::testing;

// A receive buffer as Linux offers it.
constexpr uint32_t kLinuxBuffer = 1536;

Header tso(uint8_t type = kGsoTcp4) {
  return {.flags = kNeedsCsum,
          .gso_type = type,
          .hdr_len = 54,
          .gso_size = 1448,
          .csum_start = 34,
          .csum_offset = 16,
          .num_buffers = 0};
}

BOOST_AUTO_TEST_SUITE(frames)

BOOST_AUTO_TEST_CASE(features_and_configuration) {
  NetMachine machine;
  auto device = machine.make_device();
  BOOST_TEST(device->type() == 1u);
  BOOST_TEST((device->features() | kNetTransport) == kNetAll);
  machine.network.offloads = 0;
  BOOST_TEST(device->features() == (kFeatureMac | kFeatureStatus | kFeatureMrgRxbuf));
  std::array<std::byte, 12> config;
  device->read_config(0, config);
  const std::array<uint8_t, 12> expected{2, 0, 0, 0, 0, 7, 1, 0, 0, 0, 0, 0};
  BOOST_TEST(std::memcmp(config.data(), expected.data(), config.size()) == 0);
  for (MacAddress wrong : {MacAddress{}, MacAddress{1, 0, 0, 0, 0, 1}, MacAddress{255, 255, 255, 255, 255, 255}}) {
    BOOST_TEST(!NetDevice::create(*machine.loop, {.backend = machine.network.backend(), .mac = wrong}).has_value());
  }
}

BOOST_AUTO_TEST_CASE(frames_pass_in_both_directions) {
  for (uint64_t left_out :
       {uint64_t{0}, kFeatureMrgRxbuf, kFeatureEventIdx, FakeNetwork::kOffloads, kFeatureIndirectDesc}) {
    NetMachine machine(kNetAll & ~left_out);
    machine.start();
    for (int i = 0; i < 600; i++) machine.check_traffic();
    BOOST_TEST(machine.device->transmitted().frames == 600u);
    BOOST_TEST(machine.device->transmitted().bytes == 600u * 60);
    BOOST_TEST(machine.device->received().bytes == 600u * 70);
  }
}

BOOST_AUTO_TEST_CASE(a_frame_may_lie_in_any_number_of_buffers) {
  NetMachine machine;
  machine.start();
  Bytes frame = make_frame(100), all = join({}, frame);
  for (Layout layout : {Layout::direct, Layout::indirect}) {
    for (std::vector<size_t> cuts : {std::vector<size_t>{}, {12}, {5}, {1, 2, 3, 50}, {13, 14, 99}}) {
      std::vector<Bytes> parts;
      size_t start = 0;
      cuts.push_back(all.size());
      for (size_t cut : cuts) {
        parts.emplace_back(all.begin() + static_cast<ptrdiff_t>(start), all.begin() + static_cast<ptrdiff_t>(cut));
        start = cut;
      }
      BOOST_REQUIRE(machine.tx().request(parts, {}, layout).has_value());
      auto sent = machine.network.receive();
      BOOST_REQUIRE(sent.has_value());
      BOOST_TEST((sent->frame == frame));
    }
    // The same for a frame to the guest.
    for (const std::vector<uint32_t>& sizes : {std::vector<uint32_t>{200}, {12, 100}, {5, 7, 100}, {1, 20, 1, 90}}) {
      machine.offer(sizes, layout);
      BOOST_REQUIRE(machine.network.send({}, frame));
      auto received = machine.take();
      BOOST_REQUIRE(received.has_value());
      BOOST_TEST(received->header.num_buffers == 1);
      BOOST_TEST((received->frame == frame));
    }
  }
}

BOOST_AUTO_TEST_CASE(offloads_pass) {
  NetMachine machine;
  machine.start();
  Bytes frame = make_frame(kMaxFrame);
  auto sent = machine.pass(tso(), frame);
  BOOST_REQUIRE(sent.has_value());
  Header expected = tso();
  BOOST_TEST(std::memcmp(&sent->header, &expected, kNetHeader) == 0);
  BOOST_TEST((sent->frame == frame));

  for (int i = 0; i < 60; i++) machine.offer({kLinuxBuffer});
  BOOST_REQUIRE(machine.network.send(tso(), frame));
  auto received = machine.take();
  BOOST_REQUIRE(received.has_value());
  expected.num_buffers = (kNetHeader + kMaxFrame + kLinuxBuffer - 1) / kLinuxBuffer;
  BOOST_TEST(std::memcmp(&received->header, &expected, kNetHeader) == 0);
  BOOST_TEST((received->frame == frame));
}

BOOST_AUTO_TEST_CASE(the_backend_is_told_what_the_driver_has_accepted) {
  NetMachine machine(kNetTransport | kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4);
  machine.start();
  BOOST_TEST(machine.network.accepted == (kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4));
  // Frames that waited from before, or a backend that lies.
  for (int i = 0; i < 4; i++) machine.offer({2048});
  BOOST_REQUIRE(machine.network.send(tso(), make_frame(4000)));
  BOOST_REQUIRE(machine.network.send({.flags = kNeedsCsum,
                                      .gso_type = 0,
                                      .hdr_len = 0,
                                      .gso_size = 0,
                                      .csum_start = 14,
                                      .csum_offset = 0,
                                      .num_buffers = 0},
                                     make_frame(60)));
  auto received = machine.take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->frame.size() == 60u);
  BOOST_TEST(received->header.flags == kNeedsCsum);
  BOOST_TEST(machine.device->received().dropped == 1u);
  // And what was not accepted is not done for the driver.
  BOOST_TEST(!machine.pass(tso(kGsoTcp6), make_frame(4000)).has_value());
  BOOST_TEST(machine.pass(tso(), make_frame(4000)).has_value());

  machine.device->reset();
  machine.driver.restart();
  machine.network.refuse = true;
  BOOST_TEST(!machine.device->activate(machine.driver.make_activation()).has_value());
  machine.network.refuse = false;
  machine.driver.restart();
  machine.start();
  machine.check_traffic();
}

BOOST_AUTO_TEST_CASE(a_frame_is_spread_over_buffers_that_the_driver_sees_at_once) {
  NetMachine machine;
  machine.start();
  for (int i = 0; i < 5; i++) machine.offer({100});
  Bytes frame = make_frame(300 - kNetHeader);
  BOOST_REQUIRE(machine.network.send({}, frame));
  machine.turn();
  BOOST_TEST(machine.rx().used_index() == 3u);
  auto received = machine.take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->header.num_buffers == 3);
  BOOST_TEST((received->frame == frame));
  // One byte more takes the two that are left, and another.
  frame = make_frame(301 - kNetHeader, 1);
  BOOST_REQUIRE(machine.network.send({}, frame));
  machine.turn();
  BOOST_TEST(machine.rx().used_index() == 3u);
  machine.offer({100});
  machine.turn();
  BOOST_TEST(machine.rx().used_index() == 3u);
  machine.offer({100});
  received = machine.take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->header.num_buffers == 4);
  BOOST_TEST((received->frame == frame));
  BOOST_TEST(machine.rx().used_index() == 7u);
  machine.check_traffic();
}

BOOST_AUTO_TEST_CASE(without_mergeable_buffers_a_frame_that_does_not_fit_is_dropped) {
  NetMachine machine(kNetAll & ~kFeatureMrgRxbuf);
  machine.start();
  for (int i = 0; i < 3; i++) machine.offer({100});
  BOOST_REQUIRE(machine.network.send({}, make_frame(101 - kNetHeader)));
  Bytes frame = make_frame(100 - kNetHeader, 1);
  BOOST_REQUIRE(machine.network.send({}, frame));
  auto received = machine.take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->header.num_buffers == 1);
  BOOST_TEST((received->frame == frame));
  BOOST_TEST(machine.rx().used_index() == 1u);
  BOOST_TEST(machine.device->received().dropped == 1u);
}

BOOST_AUTO_TEST_CASE(a_frame_for_which_the_whole_queue_is_too_small_is_dropped) {
  NetMachine machine(kNetAll, {4, 4});
  machine.start();
  for (int i = 0; i < 4; i++) machine.offer({100});
  BOOST_REQUIRE(machine.network.send({}, make_frame(1000)));
  Bytes frame = make_frame(400 - kNetHeader, 1);
  BOOST_REQUIRE(machine.network.send({}, frame));
  auto received = machine.take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST((received->frame == frame));
  BOOST_TEST(machine.device->received().dropped == 1u);
}

BOOST_AUTO_TEST_CASE(frames_without_buffers_wait_in_the_backend) {
  NetMachine machine;
  machine.start();
  for (unsigned i = 0; i < 10; i++) BOOST_REQUIRE(machine.network.send({}, make_frame(100, i)));
  machine.turn();
  BOOST_TEST(machine.device->received().frames == 0u);
  for (unsigned i = 0; i < 10; i++) {
    machine.offer({2048});
    auto received = machine.take();
    BOOST_REQUIRE(received.has_value());
    BOOST_TEST((received->frame == make_frame(100, i)));
  }
  BOOST_TEST(machine.device->received().dropped == 0u);
}

// A loop that went on watching the backend would have something to do in each round.
BOOST_AUTO_TEST_CASE(a_device_that_waits_for_buffers_sleeps) {
  NetMachine machine;
  machine.start();
  BOOST_REQUIRE(machine.network.send({}, make_frame(100)));
  machine.turn();
  BOOST_TEST(machine.is_asleep());
  machine.offer({50});  // too small alone
  machine.turn();
  BOOST_TEST(machine.is_asleep());
  machine.offer({2048});
  BOOST_TEST(machine.take().has_value());
  machine.turn();
  BOOST_TEST(machine.is_asleep());
}

BOOST_AUTO_TEST_CASE(a_network_without_room_stops_the_driver_and_loses_nothing) {
  NetMachine machine;
  machine.start();
  Bytes frame = make_frame(32 << 10);
  std::vector<uint16_t> heads;
  for (int i = 0; i < 30; i++) heads.push_back(machine.tx().send({join({}, frame)}, {}));
  machine.turn();
  uint16_t sent = machine.tx().used_index();
  BOOST_TEST(sent > 0u);
  BOOST_TEST(sent < 30u);
  for (int received = 0; received < 30;) {
    if (auto packet = machine.network.receive()) {
      BOOST_REQUIRE((packet->frame == frame));
      received++;
    } else {
      BOOST_REQUIRE(machine.loop->run_once(1000));
    }
  }
  for (uint16_t head : heads) BOOST_TEST(machine.tx().wait_used_head(head).has_value());
  BOOST_TEST(machine.device->transmitted().dropped == 0u);
  machine.check_traffic();
}

BOOST_AUTO_TEST_CASE(interrupts_come_when_the_driver_wants_them) {
  {
    NetMachine machine;
    machine.start();
    machine.tx().set_used_event(9);  // as drivers do that look after some frames only
    for (int i = 0; i < 9; i++) machine.tx().send({join({}, make_frame(60))}, {});
    machine.turn();
    BOOST_TEST(machine.tx().used_index() == 9u);
    BOOST_TEST(machine.driver.interrupt().used_count() == 0u);
    machine.tx().send({join({}, make_frame(60))}, {});
    machine.turn();
    BOOST_TEST(machine.driver.interrupt().used_count() == 1u);
  }
  NetMachine machine(kNetAll & ~kFeatureEventIdx);
  machine.start();
  machine.rx().set_no_interrupt(true);
  for (int i = 0; i < 5; i++) machine.offer({2048});
  for (int i = 0; i < 4; i++) BOOST_REQUIRE(machine.network.send({}, make_frame(60)));
  machine.turn();
  BOOST_TEST(machine.rx().used_index() == 4u);
  BOOST_TEST(machine.driver.interrupt().used_count() == 0u);
  machine.rx().set_no_interrupt(false);
  BOOST_REQUIRE(machine.network.send({}, make_frame(60)));
  machine.turn();
  BOOST_TEST(machine.driver.interrupt().used_count() == 1u);
}

BOOST_AUTO_TEST_CASE(kicks_come_when_the_device_has_nothing_else_to_do) {
  NetMachine machine;
  machine.start();
  machine.turn();
  BOOST_TEST(machine.tx().kick_if_wanted() == false);
  machine.tx().make_available(machine.tx().add({join({}, make_frame(60))}, {}));
  BOOST_TEST(machine.tx().kick_if_wanted());
  machine.turn();
  // Receive buffers are at hand, so that more of them are no news.
  for (int i = 0; i < 3; i++) machine.offer({2048});
  machine.turn();
  machine.rx().make_available(machine.rx().add({}, {2048}));
  BOOST_TEST(!machine.rx().kick_if_wanted());
}

BOOST_AUTO_TEST_CASE(queues_of_one_entry) {
  NetMachine machine(kNetAll, {1, 1});
  machine.start();
  for (int i = 0; i < 100; i++) machine.check_traffic();
}

BOOST_AUTO_TEST_CASE(a_network_that_ends_is_a_link_that_is_down) {
  NetMachine machine;
  machine.start();
  Bytes frame = make_frame(32 << 10);
  for (int i = 0; i < 30; i++) machine.tx().send({join({}, frame)}, {});  // more than there is room for
  machine.turn();
  machine.network.end();
  for (int i = 0; i < 30; i++) BOOST_TEST(machine.tx().wait_used().has_value());
  BOOST_TEST(machine.driver.interrupt().config_count() == 1u);
  std::array<std::byte, 2> status;
  machine.device->read_config(6, status);
  BOOST_TEST((status[0] == std::byte{0}));
  // The driver goes on, and so does the next one.
  BOOST_TEST(machine.tx().request({join({}, frame)}, {}).has_value());
  machine.restart();
  BOOST_TEST(machine.tx().request({join({}, frame)}, {}).has_value());
  BOOST_TEST(machine.driver.interrupt().config_count() == 0u);
  BOOST_TEST(machine.device->transmitted().dropped >= 2u);
}

BOOST_AUTO_TEST_CASE(a_device_that_is_busy_can_be_reset) {
  NetMachine machine;
  machine.start();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 30; i++) machine.tx().send({join({}, make_frame(32 << 10))}, {});
    for (int i = 0; i < 3; i++) machine.offer({100});
    machine.network.send({}, make_frame(1000));  // waits for more buffers
    machine.turn();
    BOOST_TEST(machine.tx().used_index() < 30u);
    machine.restart();
    BOOST_TEST(machine.tx().used_index() == 0u);
    while (machine.network.receive()) {
    }
  }
  machine.check_traffic();
}

BOOST_AUTO_TEST_CASE(a_paused_device_sleeps_and_loses_nothing) {
  NetMachine machine;
  machine.start();
  for (int i = 0; i < 3; i++) machine.offer({2048});
  machine.turn();
  machine.device->pause();
  BOOST_REQUIRE(machine.network.send({}, make_frame(60)));
  uint16_t head = machine.tx().send({join({}, make_frame(60))}, {});
  machine.turn();
  BOOST_TEST(machine.is_asleep());
  BOOST_TEST(machine.rx().used_index() == 0u);
  BOOST_TEST(machine.tx().used_index() == 0u);
  BOOST_TEST(!machine.network.receive().has_value());
  machine.device->resume();
  BOOST_TEST(machine.take().has_value());
  BOOST_TEST(machine.tx().wait_used_head(head).has_value());
  machine.device->pause();
  machine.network.end();
  machine.turn();
  BOOST_TEST(machine.driver.interrupt().config_count() == 0u);
  machine.device->resume();
  BOOST_TEST(machine.driver.interrupt().config_count() == 1u);
}

BOOST_AUTO_TEST_CASE(a_device_on_a_thread_of_its_own) {
  FakeNetwork network;
  FakeDriver driver({.memory_mib = 4, .features = kNetAll, .queue_sizes = {256, 256}});
  std::unique_ptr<NetDevice> device;
  auto thread = LoopThread::create("virtio-net", {}, [&](EventLoop& loop) -> Result<void> {
                  device = TRY(NetDevice::create(loop, {.backend = network.backend(), .mac = kNetMac}));
                  return {};
                }).value();
  Bytes frame = make_frame(1000);
  for (int round = 0; round < 10; round++) {
    driver.activate(*device);
    for (int i = 0; i < 20; i++) {
      BOOST_REQUIRE(driver.queue(1).request({join({}, frame)}, {}).has_value());
      auto sent = network.receive();
      BOOST_REQUIRE(sent.has_value());
      BOOST_TEST((sent->frame == frame));
      driver.queue(0).send({}, {2048});
      BOOST_REQUIRE(network.send({}, frame));
      auto used = driver.queue(0).wait_used();
      BOOST_REQUIRE(used.has_value());
      BOOST_TEST(used->length == kNetHeader + frame.size());
    }
    // Is reset with work in its hands, and sometimes paused.
    for (int i = 0; i < 30; i++) driver.queue(1).send({join({}, make_frame(32 << 10))}, {});
    for (int i = 0; i < 3; i++) driver.queue(0).send({}, {100});
    BOOST_REQUIRE(network.send({}, frame));
    if (round % 2 == 1) device->pause();
    device->reset();
    driver.restart();
    device->resume();
    while (network.receive()) {
    }
  }
  BOOST_TEST(device->transmitted().frames >= 200u);
  device.reset();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::net::net_test
