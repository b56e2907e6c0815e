// SPDX-License-Identifier: Apache-2.0
// Fuzzes virtio-vsock and its queues. A driver sends packets, offers buffers and writes descriptors as it likes. The
// host's end of a connection sends and goes away. In between, the device is paused, moved to a new device, and reset.
#include <sys/socket.h>

#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/vsock/device.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;

constexpr uint64_t kCid = 3;
constexpr uint32_t kPort = 1024;
constexpr size_t kMaxSteps = 200;

struct World {
  World() {
    driver.set_pump([this](int) { turn(); });
    make_device();
    driver.activate(*device);
  }
  ~World() { device->reset(); }

  void make_device() {
    auto [ours, theirs] = make_socketpair(SOCK_STREAM | SOCK_NONBLOCK).value();
    host = std::move(ours);
    VsockOptions options{.guest_cid = kCid, .uds_path = {}, .listener = {}};
    options.streams.push_back({kPort, std::move(theirs)});
    device = VsockDevice::create(*loop, std::move(options)).value();
  }
  void turn() { fuzz::check(loop->run_once(0).has_value(), "the loop ends"); }
  void restart() {
    device->reset();
    driver.restart();
    driver.activate(*device);
  }
  // Moves the state to a new device. Saving and restoring must work for every state to which a driver can bring a
  // device. Only the activation may fail, if the driver has broken the rings.
  void move() {
    device->pause();
    StateWriter state;
    fuzz::check(device->save(state).has_value(), "a device cannot be saved");
    make_device();
    device->pause();
    StateReader reader(state.content());
    fuzz::check(device->restore(reader).has_value(), "a device refuses its own state");
    if (!device->activate(driver.make_activation())) {
      device->reset();
      driver.restart();
      driver.activate(*device);
    }
    device->resume();
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16, 16, 4}}};
  std::unique_ptr<VsockDevice> device;
  Fd host;
};

void send_packet(World& world, fuzz::Input& input) {
  auto known = input.take<uint8_t>();
  vsock::Header header{.src_cid = kCid,
                       .dst_cid = vsock::kHostCid,
                       .src_port = input.take<uint8_t>(),
                       .dst_port = known & 1 ? kPort : input.take<uint32_t>(),
                       .len = 0,
                       .type = vsock::kTypeStream,
                       .op = static_cast<vsock::Op>(input.take<uint8_t>() % 9),
                       .flags = input.take<uint8_t>(),
                       .buf_alloc = input.take<uint32_t>(),
                       .fwd_cnt = input.take<uint32_t>()};
  auto payload = input.bytes(input.take<uint8_t>());
  header.len = known & 2 ? input.take<uint32_t>() : static_cast<uint32_t>(payload.size());
  if (known & 4) header.src_cid = input.take<uint64_t>();
  if (known & 8) header.type = input.take<uint16_t>();
  std::vector<testing::Bytes> parts{testing::bytes_of_object(header)};
  if (!payload.empty()) parts.emplace_back(payload.begin(), payload.end());
  world.driver.queue(1).send(parts, {});
}

void write_descriptor(World& world, fuzz::Input& input) {
  testing::FakeQueue& queue = world.driver.queue(input.take<uint8_t>() % 3);
  uint64_t base = world.driver.memory().regions().front().start.value;
  testing::RawDescriptor descriptor{.address = base + uint64_t{input.take<uint16_t>()} * 16,
                                    .length = input.take<uint16_t>(),
                                    .flags = input.take<uint16_t>(),
                                    .next = input.take<uint8_t>()};
  auto index = static_cast<uint16_t>(input.take<uint8_t>() % queue.config().size);
  queue.write_descriptor(index, descriptor);
  if (input.take<uint8_t>() & 1) queue.make_available(index);
  queue.kick();
}

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 10) {
    case 0:
    case 1:
      return send_packet(world, input);
    case 2:
      world.driver.queue(0).send({}, {uint32_t{input.take<uint16_t>()}});
      return;
    case 3:
      world.driver.queue(2).send({}, {uint32_t{input.take<uint8_t>()}});
      return;
    case 4:
      return write_descriptor(world, input);
    case 5: {
      auto data = input.bytes(input.take<uint8_t>());
      [[maybe_unused]] ssize_t n = ::send(world.host.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    case 6:
      while (world.driver.queue(0).pop_used() || world.driver.queue(1).pop_used()) {
      }
      return;
    case 7:
      world.host.reset();
      return;
    case 8:
      return world.restart();
    default:
      return world.move();
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
      // Either the driver has nothing left to send with, or it sees the effect of its own bad descriptors. It begins
      // anew.
      world.restart();
    }
    world.turn();
    fuzz::check(world.device->stream_count() <= vsock::Muxer::kMaxStreams, "there are more streams than the limit");
  }
  return 0;
}
