// SPDX-License-Identifier: Apache-2.0
// A virtio-net device between a driver and a network, for tests. All of it runs on the test's thread.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>

#include "devices/virtio/net/device.h"
#include "devices/virtio/net/testing/fake_network.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::testing {

inline constexpr uint64_t kNetTransport =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;
inline constexpr uint64_t kNetAll = kNetTransport | virtio::net::kFeatureMac | virtio::net::kFeatureStatus |
                                    virtio::net::kFeatureMrgRxbuf | FakeNetwork::kOffloads;
inline constexpr virtio::net::MacAddress kNetMac{2, 0, 0, 0, 0, 7};
inline constexpr size_t kNetHeader = sizeof(virtio::net::Header);

// A frame whose bytes tell where they belong.
inline Bytes make_frame(size_t size, unsigned seed = 0) {
  Bytes frame(size);
  for (size_t i = 0; i < size; i++) frame[i] = std::byte((i * 31 + i / 251 + seed) & 0xff);
  return frame;
}

inline Bytes join(const virtio::net::Header& header, std::span<const std::byte> frame) {
  Bytes all = bytes_of_object(header);
  all.insert(all.end(), frame.begin(), frame.end());
  return all;
}

struct NetMachine {
  explicit NetMachine(uint64_t features = kNetAll, std::vector<uint16_t> queue_sizes = {256, 256})
      : driver({.memory_mib = 4, .features = features, .queue_sizes = std::move(queue_sizes)}) {
    driver.set_pump([this](int timeout_ms) { BOOST_REQUIRE(loop->run_once(timeout_ms)); });
  }
  ~NetMachine() {
    if (device) device->reset();
  }

  std::unique_ptr<virtio::NetDevice> make_device(virtio::net::MacAddress mac = kNetMac) {
    return virtio::NetDevice::create(*loop, {.backend = network.backend(), .mac = mac}).value();
  }
  void start() {
    if (!device) device = make_device();
    driver.activate(*device);
  }
  void restart() {
    device->reset();
    driver.restart();
    start();
  }
  // Lets the device do what there is to do.
  void turn() {
    for (int i = 0; i < 20; i++) BOOST_REQUIRE(loop->run_once(0));
  }
  static bool is_asleep() { return is_loop_asleep(); }

  FakeQueue& rx() { return driver.queue(0); }
  FakeQueue& tx() { return driver.queue(1); }

  // Offers a receive buffer.
  uint16_t offer(std::vector<uint32_t> sizes, Layout layout = Layout::direct) { return rx().send({}, sizes, layout); }
  // Receives one frame as a driver does, from as many buffers as its header says.
  std::optional<FakeNetwork::Packet> take() {
    auto used = rx().wait_used();
    if (!used) return std::nullopt;
    BOOST_REQUIRE(used->written.size() >= kNetHeader);
    FakeNetwork::Packet packet;
    std::memcpy(&packet.header, used->written.data(), kNetHeader);
    packet.frame.assign(used->written.begin() + kNetHeader, used->written.end());
    for (unsigned i = 1; i < packet.header.num_buffers; i++) {
      auto more = rx().pop_used();  // it must be there already (5.1.6.4)
      BOOST_REQUIRE(more.has_value());
      packet.frame.insert(packet.frame.end(), more->written.begin(), more->written.end());
    }
    return packet;
  }
  // Sends a frame, waits until the device has given its buffer back, and returns what the network got.
  std::optional<FakeNetwork::Packet> pass(const virtio::net::Header& header, std::span<const std::byte> frame) {
    BOOST_REQUIRE(tx().request({join(header, frame)}, {}).has_value());
    return network.receive();
  }
  // A frame must pass in each direction.
  void check_traffic() {
    Bytes out = make_frame(60, 1), in = make_frame(70, 2);
    auto sent = pass({}, out);
    BOOST_REQUIRE(sent.has_value());
    BOOST_TEST((sent->frame == out));
    offer({2048});
    BOOST_REQUIRE(network.send({}, in));
    auto received = take();
    BOOST_REQUIRE(received.has_value());
    BOOST_TEST((received->frame == in));
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  FakeNetwork network;
  FakeDriver driver;
  std::unique_ptr<virtio::NetDevice> device;
};

}  // namespace nacre::testing
