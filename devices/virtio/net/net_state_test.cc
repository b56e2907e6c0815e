// SPDX-License-Identifier: Apache-2.0
// Tests the saved state of virtio-net: saved in the middle of work, cut short, and with flipped bits.
#include <boost/test/unit_test.hpp>

#include "devices/virtio/net/testing/net_machine.h"
#include "devices/virtio/testing/hostile_state.h"

namespace nacre::virtio::net::net_state_test {
namespace {

using namespace nacre::testing;

struct SavedNet : NetMachine {
  SavedNet() { start(); }

  std::vector<std::byte> save() {
    device->pause();
    StateWriter state;
    BOOST_REQUIRE(device->save(state).has_value());
    return state.content();
  }
  // Leaves a paused device, which the caller resumes.
  Result<void> restore(std::span<const std::byte> state, bool active = true) {
    device = make_device({2, 9, 9, 9, 9, 9});
    device->pause();
    StateReader reader(state);
    TRY(device->restore(reader));
    TRY(reader.end());
    if (!active) return {};
    return device->activate(driver.make_activation());
  }
  MacAddress mac() const {
    MacAddress mac;
    device->read_config(0, std::as_writable_bytes(std::span(mac)));
    return mac;
  }
  // Has frames in its hands: one to the network, and buffers for some from there.
  void work() {
    for (int i = 0; i < 5; i++) offer({600});
    for (unsigned i = 0; i < 30; i++) tx().send({join({}, make_frame(32 << 10, i))}, {});
    BOOST_REQUIRE(network.send({}, make_frame(700)));
    turn();
    BOOST_REQUIRE(rx().used_index() == 2u);
    BOOST_REQUIRE(tx().used_index() < 30u);
  }
};

BOOST_FIXTURE_TEST_SUITE(net_state, SavedNet)

BOOST_AUTO_TEST_CASE(a_device_at_work_goes_on_in_a_new_one) {
  work();
  auto state = save();
  BOOST_REQUIRE(restore(state).has_value());
  BOOST_TEST((mac() == kNetMac));
  turn();
  BOOST_TEST(is_asleep());
  device->resume();
  for (unsigned i = 0; i < 30;) {
    if (auto packet = network.receive()) {
      BOOST_REQUIRE((packet->frame == make_frame(32 << 10, i++)));
    } else {
      BOOST_REQUIRE(loop->run_once(1000));
    }
  }
  for (int i = 0; i < 30; i++) BOOST_TEST(tx().wait_used().has_value());
  BOOST_TEST((take()->frame == make_frame(700)));
  BOOST_REQUIRE(network.send({}, make_frame(1500)));
  auto received = take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST(received->header.num_buffers == 3);
  BOOST_TEST((received->frame == make_frame(1500)));
  for (int i = 0; i < 300; i++) check_traffic();
}

// The driver is not asked for its next kick while a frame waits. The new device has to do so.
BOOST_AUTO_TEST_CASE(a_frame_that_waits_is_the_last_one) {
  uint16_t before;
  do {
    before = tx().used_index();
    tx().send({join({}, make_frame(32 << 10))}, {});
    turn();
  } while (tx().used_index() != before);
  BOOST_REQUIRE(restore(save()).has_value());
  device->resume();
  while (network.receive()) turn();
  turn();
  while (tx().pop_used()) {
  }
  check_traffic();
}

BOOST_AUTO_TEST_CASE(a_frame_that_waits_for_buffers_is_lost_and_its_buffers_are_not) {
  offer({600});
  BOOST_REQUIRE(network.send({}, make_frame(1000)));
  turn();
  BOOST_REQUIRE(restore(save()).has_value());
  device->resume();
  BOOST_REQUIRE(network.send({}, make_frame(500, 3)));
  auto received = take();
  BOOST_REQUIRE(received.has_value());
  BOOST_TEST((received->frame == make_frame(500, 3)));
  check_traffic();
}

BOOST_AUTO_TEST_CASE(a_device_without_a_driver_keeps_its_address) {
  device->reset();
  BOOST_REQUIRE(restore(save(), false).has_value());
  device->resume();
  BOOST_TEST((mac() == kNetMac));
  driver.restart();
  start();
  check_traffic();
}

BOOST_AUTO_TEST_CASE(a_saved_device_goes_on_itself) {
  work();
  (void)save();
  device->resume();
  while (network.receive() || !is_asleep()) turn();
  for (int i = 0; i < 30; i++) BOOST_TEST(tx().wait_used().has_value());
  while (rx().pop_used()) {
  }
  check_traffic();
}

BOOST_AUTO_TEST_CASE(a_broken_device_stays_broken) {
  work();
  tx().set_available_index(9999);
  tx().kick();
  while (driver.interrupt().broken_count() == 0) {
    (void)network.receive();
    BOOST_REQUIRE(loop->run_once(100));
  }
  uint16_t used = tx().used_index();
  BOOST_REQUIRE(restore(save()).has_value());
  device->resume();
  tx().kick();
  rx().kick();
  turn();
  BOOST_TEST(tx().used_index() == used);
  restart();
  while (network.receive()) {
  }
  check_traffic();
}

BOOST_AUTO_TEST_CASE(a_link_that_is_gone_is_told) {
  auto state = save();
  network.end();
  BOOST_REQUIRE(restore(state).has_value());
  device->resume();
  turn();
  BOOST_TEST(driver.interrupt().config_count() == 1u);
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  work();
  testing::each_truncation(save(), [&](std::span<const std::byte> state) { BOOST_TEST(!restore(state).has_value()); });
  device.reset();
  driver.restart();
  start();
  while (network.receive()) {
  }
  check_traffic();
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_refused_or_harmless) {
  work();
  auto saved = save();
  MemoryContent content(driver.memory());
  testing::each_flipped_bit(saved, [&](std::span<const std::byte> state) {
    content.put_back();
    if (restore(state)) {
      BOOST_TEST((mac()[0] & 1) == 0);
      device->resume();
      network.send({}, make_frame(100));
      for (int i = 0; i < 4; i++) {
        turn();
        (void)network.receive();
      }
      BOOST_TEST(rx().used_index() <= 5u);
    }
    device->reset();
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::net::net_state_test
