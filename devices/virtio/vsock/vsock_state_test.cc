// SPDX-License-Identifier: Apache-2.0
// Tests the saved state of vsock: connections end and the driver is told so; buffers and packets are kept.
#include <sys/socket.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/testing/hostile_state.h"
#include "devices/virtio/vsock/device.h"

namespace nacre::virtio::vsock::vsock_state_test {
namespace {

constexpr uint64_t kCid = 3;
constexpr uint32_t kPort = 1024;
constexpr uint32_t kRx = 0, kTx = 1, kEvent = 2;
constexpr uint32_t kBuffers = 8;

// A guest with one connection to a socket that the device has inherited. Everything runs on the test's thread.
struct SavedVsock {
  SavedVsock() {
    driver.set_pump([this](int timeout_ms) { BOOST_REQUIRE(loop->run_once(timeout_ms)); });
  }

  std::unique_ptr<VsockDevice> make_device(Fd inherited = {}) {
    VsockOptions options{.guest_cid = kCid, .uds_path = {}, .listener = {}};
    if (inherited) options.streams.push_back({kPort, std::move(inherited)});
    return VsockDevice::create(*loop, std::move(options)).value();
  }

  void send(Op op, uint32_t guest_port, std::string_view payload = {}) {
    Header header{.src_cid = kCid,
                  .dst_cid = kHostCid,
                  .src_port = guest_port,
                  .dst_port = kPort,
                  .len = static_cast<uint32_t>(payload.size()),
                  .type = kTypeStream,
                  .op = op,
                  .flags = 0,
                  .buf_alloc = 65536,
                  .fwd_cnt = 0};
    std::vector<testing::Bytes> parts{testing::bytes_of_object(header)};
    if (!payload.empty()) parts.push_back(testing::bytes_of(payload));
    driver.queue(kTx).send(parts, {});
  }
  // Returns the header of the next packet to the guest.
  Header receive() {
    auto used = driver.queue(kRx).wait_used();
    BOOST_REQUIRE(used.has_value());
    Header header;
    BOOST_REQUIRE(used->written.size() >= sizeof(header));
    std::memcpy(&header, used->written.data(), sizeof(header));
    return header;
  }

  // Returns a device with a connection over which data has come, and with receive buffers that the device has taken and
  // not used.
  std::unique_ptr<VsockDevice> work() {
    auto [host, inherited] = make_socketpair(SOCK_STREAM).value();
    peer = std::move(host);
    auto device = make_device(std::move(inherited));
    driver.activate(*device);
    for (uint32_t i = 0; i < kBuffers; i++) driver.queue(kRx).send({}, {512});
    send(Op::request, 5000);
    BOOST_REQUIRE((receive().op == Op::response));
    BOOST_REQUIRE(write_all(peer.get(), "hello").has_value());
    BOOST_REQUIRE((receive().op == Op::data));
    while (driver.queue(kTx).pop_used()) {
    }
    return device;
  }
  std::vector<std::byte> save(VsockDevice& device) {
    device.pause();
    StateWriter state;
    BOOST_REQUIRE(device.save(state).has_value());
    return state.content();
  }
  Result<void> restore(VsockDevice& device, std::span<const std::byte> state) {
    device.pause();
    StateReader reader(state);
    TRY(device.restore(reader));
    TRY(reader.end());
    return device.activate(driver.make_activation());
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16, 16, 4}}};
  Fd peer;
};

BOOST_FIXTURE_TEST_SUITE(vsock_state, SavedVsock)

BOOST_AUTO_TEST_CASE(connections_end_with_an_event_and_nothing_else_is_lost) {
  auto device = work();
  driver.queue(kEvent).send({}, {4});
  device->pause();
  // The guest sends data that the device has not seen yet, and begins another connection meanwhile.
  send(Op::data, 5000, "late");
  send(Op::request, 5001);
  BOOST_REQUIRE(loop->run_once(0));
  BOOST_TEST(!driver.queue(kTx).pop_used().has_value());
  auto state = save(*device);
  device.reset();
  std::byte end;
  BOOST_TEST(::recv(peer.get(), &end, 1, 0) == 0);

  auto there = make_device();
  BOOST_REQUIRE(restore(*there, state).has_value());
  BOOST_TEST(driver.queue(kRx).used_index() == 2u);
  there->resume();
  auto event = driver.queue(kEvent).wait_used();
  BOOST_REQUIRE(event.has_value());
  BOOST_TEST((event->written == testing::Bytes(4, std::byte{kEventTransportReset})));
  // Data that no longer belongs to a connection is answered by a reset. So is the request, since nobody serves its port
  // in the new device.
  for (uint32_t port : {5000u, 5001u}) {
    Header header = receive();
    BOOST_TEST((header.op == Op::reset));
    BOOST_TEST(uint32_t{header.dst_port} == port);
  }
  BOOST_TEST(driver.queue(kTx).wait_used().has_value());
  BOOST_TEST(driver.queue(kTx).wait_used().has_value());
  BOOST_TEST(there->stream_count() == 0u);
}

BOOST_AUTO_TEST_CASE(receive_buffers_that_were_taken_are_used) {
  auto device = work();
  auto state = save(*device);
  device.reset();
  auto [host, inherited] = make_socketpair(SOCK_STREAM).value();
  auto there = make_device(std::move(inherited));
  BOOST_REQUIRE(restore(*there, state).has_value());
  there->resume();
  // Six of the eight receive buffers are left. Each of them gets used once.
  send(Op::request, 5002);
  BOOST_TEST((receive().op == Op::response));
  size_t got = 0;
  for (int i = 0; i < 5; i++) {
    BOOST_REQUIRE(write_all(host.get(), "more").has_value());
    Header header = receive();
    BOOST_TEST((header.op == Op::data));
    got += header.len;
  }
  BOOST_TEST(got == 20u);
  BOOST_TEST(driver.queue(kRx).used_index() == kBuffers);
}

BOOST_AUTO_TEST_CASE(a_pause_keeps_connections_and_loses_nothing) {
  auto device = work();
  device->pause();
  send(Op::data, 5000, "late");
  BOOST_REQUIRE(write_all(peer.get(), "more").has_value());
  BOOST_REQUIRE(loop->run_once(0));
  BOOST_TEST(driver.queue(kRx).used_index() == 2u);
  device->resume();
  BOOST_TEST((receive().op == Op::data));
  std::array<std::byte, 4> late;
  BOOST_TEST(driver.queue(kTx).wait_used().has_value());
  BOOST_TEST(read_all(peer.get(), late).has_value());
  BOOST_TEST((testing::Bytes(late.begin(), late.end()) == testing::bytes_of("late")));
}

BOOST_AUTO_TEST_CASE(a_device_without_a_driver_is_restored_as_that) {
  auto device = make_device();
  auto state = save(*device);
  auto there = make_device();
  there->pause();
  StateReader reader(state);
  BOOST_REQUIRE(there->restore(reader).has_value());
  there->resume();
  driver.activate(*there);
  driver.queue(kRx).send({}, {512});
  send(Op::request, 5000);
  BOOST_TEST((receive().op == Op::reset));
  BOOST_TEST(!driver.queue(kEvent).pop_used().has_value());
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  auto device = work();
  testing::each_truncation(save(*device), [&](std::span<const std::byte> state) {
    auto there = make_device();
    BOOST_TEST(!restore(*there, state).has_value());
  });
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_refused_or_harmless) {
  auto device = work();
  send(Op::data, 5000, "late");
  auto saved = save(*device);
  testing::MemoryContent content(driver.memory());
  testing::each_flipped_bit(saved, [&](std::span<const std::byte> state) {
    content.put_back();
    auto there = make_device();
    if (restore(*there, state)) {
      there->resume();
      BOOST_REQUIRE(loop->run_once(0));
    }
    there->reset();
    BOOST_TEST(there->stream_count() == 0u);
  });
}

BOOST_AUTO_TEST_CASE(buffers_that_are_not_in_flight_are_refused) {
  auto device = work();
  save(*device);
  auto forge = [&](std::vector<uint16_t> held, QueueState rx, QueueState tx) {
    StateWriter state;
    state.section("virtio-vsock", 1, [&] {
      state.count(held.size());
      for (uint16_t head : held) state.u16(head);
      state.section("worker", 1, [&] {
        state.boolean(false);
        state.boolean(true);
        state.count(3);
        rx.save(state);
        tx.save(state);
        QueueState{}.save(state);
      });
    });
    auto there = make_device();
    return restore(*there, state.content()).has_value();
  };
  QueueState rx{.next_available = 2, .next_used = 2, .unsignalled = 0, .broken = false};
  QueueState tx{.next_available = 1, .next_used = 1, .unsignalled = 0, .broken = false};
  BOOST_TEST(forge({}, rx, tx));
  BOOST_TEST(!forge({0}, rx, tx));
  rx.next_available = 4;
  BOOST_TEST(!forge({0}, rx, tx));
  BOOST_TEST(!forge({0, 0xffff}, rx, tx));
  BOOST_TEST(!forge({}, rx, tx));
  rx.next_available = 2;
  tx.next_available = 2;  // a packet that the device would have to remember
  BOOST_TEST(!forge({}, rx, tx));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::vsock::vsock_state_test
