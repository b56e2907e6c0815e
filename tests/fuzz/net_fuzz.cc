// SPDX-License-Identifier: Apache-2.0
// Fuzzes virtio-net: frames in both directions, buffers of all sizes, a driver that breaks its rings, resets, pauses
// and moves to a new device.
//
// As long as the driver keeps to the rules, frames arrive whole and in their order, those that are not dropped; the
// network sees no header that asks for what the driver has not accepted; and when the network takes all frames and the
// driver offers enough buffers, nothing is left waiting.
#include <deque>
#include <source_location>

#include "devices/virtio/net/device.h"
#include "devices/virtio/net/headers.h"
#include "devices/virtio/net/testing/fake_network.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;
using namespace nacre::virtio::net;

constexpr size_t kMaxSteps = 200;
constexpr uint16_t kQueueSize = 16;
constexpr uint32_t kBuffer = 2048;
constexpr size_t kReceive = 0, kTransmit = 1;

void check(bool condition, const std::source_location& where = std::source_location::current()) {
  fuzz::check(condition, "net_fuzz.cc, line " + std::to_string(where.line()));
}

testing::Bytes make_frame(size_t size, uint32_t number) {
  testing::Bytes frame(size);
  for (size_t i = 0; i < size; i++) frame[i] = std::byte((number * 7 + i + i / 256) & 0xff);
  return frame;
}

// Finds a frame among those that were sent, and forgets those before it, which were dropped.
void check_in_order(std::deque<testing::Bytes>& sent, const testing::Bytes& frame) {
  while (!sent.empty() && sent.front() != frame) sent.pop_front();
  check(!sent.empty());
  sent.pop_front();
}

struct World {
  explicit World(uint64_t accepted)
      : features(accepted), driver({.memory_mib = 1, .features = accepted, .queue_sizes = {kQueueSize, kQueueSize}}) {
    driver.set_pump([this](int) { turn(); });
    make_device();
    driver.activate(*device);
  }
  ~World() { device->reset(); }

  void make_device() {
    device.reset();
    device = NetDevice::create(*loop, {.backend = network.backend(), .mac = {2, 0, 0, 0, 0, 1}}).value();
  }
  void turn() {
    for (int i = 0; i < 8; i++) check(loop->run_once(0).has_value());
  }
  void restart() {
    device->reset();
    driver.restart();
    while (network.receive()) {
    }
    to_network.clear();
    driver.activate(*device);  // frames to the driver go on waiting in the network
    honest = true;
  }
  void move() {
    device->pause();
    StateWriter state;
    check(device->save(state).has_value());
    make_device();
    device->pause();
    StateReader reader(state.content());
    bool restored = device->restore(reader) && device->activate(driver.make_activation());
    check(restored || !honest);
    if (!restored) device->reset();
    device->resume();
    if (!restored) restart();
  }
  void take_from_network() {
    while (auto packet = network.receive()) {
      const Header& seen = packet->header;
      check(!(seen.flags & kNeedsCsum) || size_t{seen.csum_start} + seen.csum_offset + 2 <= packet->frame.size());
      check(seen.gso_type == kGsoNone || (seen.gso_size > 0 && seen.hdr_len <= packet->frame.size()));
      Header again = seen;
      check(prepare_to_send(again, packet->frame.size(), features));
      check(std::memcmp(&again, &seen, sizeof(again)) == 0);
      if (honest) check_in_order(to_network, packet->frame);
    }
  }
  // Takes frames as a driver does, and buffers that the device has no use for.
  void take_from_device() {
    while (driver.queue(kTransmit).pop_used()) {
    }
    while (auto used = driver.queue(kReceive).pop_used()) {
      if (!honest || used->length == 0) continue;
      check(used->written.size() >= sizeof(Header));
      Header header;
      std::memcpy(&header, used->written.data(), sizeof(header));
      check(prepare_to_deliver(header, features));
      testing::Bytes frame(used->written.begin() + sizeof(header), used->written.end());
      check(header.num_buffers == 1 || (features & kFeatureMrgRxbuf && header.num_buffers > 1));
      for (unsigned i = 1; i < header.num_buffers; i++) {
        auto more = driver.queue(kReceive).pop_used();
        check(more.has_value());
        frame.insert(frame.end(), more->written.begin(), more->written.end());
      }
      check_in_order(to_driver, frame);
    }
  }
  // Lets everything pass that waits.
  void flush() {
    if (!honest) return restart();
    testing::FakeQueue& rx = driver.queue(kReceive);
    for (size_t last = SIZE_MAX; to_driver.size() < last;) {
      last = to_driver.size();
      try {
        while (true) rx.send({}, {kBuffer});
      } catch (const std::logic_error&) {  // all descriptors are in use
      }
      turn();
      take_from_network();
      take_from_device();
    }
    for (int i = 0; i < 2 * kQueueSize; i++) {
      turn();
      take_from_network();
    }
    take_from_device();
    check(driver.interrupt().broken_count() == 0);
    check(driver.queue(kTransmit).used_index() == driver.queue(kTransmit).available_index());
    check(testing::is_loop_asleep());
    to_network.clear();
  }

  const uint64_t features;
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeNetwork network;
  testing::FakeDriver driver;
  std::unique_ptr<NetDevice> device;
  std::deque<testing::Bytes> to_network, to_driver;
  uint32_t number = 0;
  bool honest = true;  // the driver keeps to the rules of its queues
};

Header take_header(fuzz::Input& input) {
  auto header = input.take<Header>();
  constexpr uint8_t kTypes[] = {kGsoNone, kGsoTcp4, kGsoTcp6, kGsoUdp, kGsoTcp4 | kGsoEcn};
  uint8_t likely = input.take<uint8_t>();
  if (likely & 1) header.gso_type = input.one_of(kTypes);
  if (likely & 2) header.flags = kNeedsCsum;
  if (likely & 4) header = {};
  return header;
}

// A frame of any size: most are short, and some are as long as frames get, or longer.
testing::Bytes take_frame(World& world, fuzz::Input& input) {
  size_t size = input.take<uint8_t>();
  if (size >= 224) size = (size - 223) * 2100;
  return make_frame(size, world.number++);
}

void transmit(World& world, fuzz::Input& input) {
  testing::Bytes rest = testing::bytes_of_object(take_header(input));
  testing::Bytes frame = take_frame(world, input);
  rest.insert(rest.end(), frame.begin(), frame.end());
  std::vector<testing::Bytes> parts;
  for (uint8_t cuts = input.take<uint8_t>() % 4; cuts > 0; cuts--) {
    size_t size = std::min<size_t>(rest.size(), 1 + input.take<uint8_t>() % 40);
    parts.emplace_back(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(size));
    rest.erase(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(size));
  }
  if (!rest.empty()) parts.push_back(std::move(rest));
  world.driver.queue(kTransmit).send(parts, {});
  world.to_network.push_back(std::move(frame));
}

void offer(World& world, fuzz::Input& input) {
  std::vector<uint32_t> sizes;
  for (uint8_t count = 1 + input.take<uint8_t>() % 3; count > 0; count--) {
    uint32_t size = input.take<uint8_t>();
    sizes.push_back(size < 192 ? 1 + size : kBuffer * (size - 191) / 8);
  }
  world.driver.queue(kReceive).send({}, sizes);
}

void break_ring(World& world, fuzz::Input& input) {
  world.honest = false;
  testing::FakeQueue& queue = world.driver.queue(input.take<uint8_t>() % 2);
  uint64_t base = world.driver.memory().regions().front().start.value;
  testing::RawDescriptor descriptor{.address = base + uint64_t{input.take<uint16_t>()} * 16,
                                    .length = input.take<uint16_t>(),
                                    .flags = input.take<uint16_t>(),
                                    .next = input.take<uint8_t>()};
  uint16_t index = input.take<uint8_t>() % queue.config().size;
  queue.write_descriptor(index, descriptor);
  if (input.take<uint8_t>() & 1) queue.set_available_index(input.take<uint16_t>());
  queue.make_available(index);
  queue.kick();
}

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 14) {
    case 0:
      return world.restart();
    case 1:
      return world.move();
    case 2:
      world.device->pause();
      world.turn();
      return world.device->resume();
    case 3:
      return break_ring(world, input);
    case 4:
      return world.take_from_network();
    case 5:
      return world.flush();
    case 6:
    case 7:
    case 8:
      return offer(world, input);
    case 9:
    case 10: {
      Header header = take_header(input);
      testing::Bytes frame = take_frame(world, input);
      if (world.network.send(header, frame)) world.to_driver.push_back(std::move(frame));
      return;
    }
    default:
      return transmit(world, input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  uint64_t refused = input.take<uint64_t>();  // as a driver may leave any feature out
  World world(
      kFeatureVersion1 |
      ((kFeatureIndirectDesc | kFeatureEventIdx | kFeatureMrgRxbuf | testing::FakeNetwork::kOffloads) & ~refused));
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) {
    try {
      step(world, input);
      world.turn();
      // Nothing is to do before the driver or the network does something.
      if (world.honest) check(testing::is_loop_asleep());
      world.take_from_device();
    } catch (const std::logic_error&) {
      // The driver has nothing left to send with, or meets its own bad descriptors.
      world.restart();
    }
  }
  world.flush();
  return 0;
}
