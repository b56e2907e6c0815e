// SPDX-License-Identifier: Apache-2.0
// Fuzzes the serial port: accesses to its registers, input of the host, a sink that takes as much as it likes, and
// moves to a new port in between.
//
// What the port keeps is bounded. Every byte that the sink gets was sent, in its order. A driver that follows the line
// status loses nothing. A host that keeps the port's rest gets its turn again.
#include <array>
#include <deque>
#include <memory>

#include "devices/legacy/serial.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;

constexpr size_t kMaxSteps = 2000;
constexpr uint8_t kTransmitterEmpty = 0x20, kDataReady = 1, kDivisorLatch = 0x80, kLoopback = 0x10;

struct Line final : IrqLine {
  void trigger() override { count++; }
  uint64_t count = 0;
};

// Takes at most `room` bytes, and checks that they are those that were sent next.
struct Sink final : SerialSink {
  size_t write(std::span<const std::byte> data) override {
    fuzz::check(!data.empty(), "the sink is offered nothing");
    size_t taken = std::min(room, data.size());
    room -= taken;
    for (std::byte value : data.first(taken)) {
      fuzz::check(!sent.empty() && sent.front() == value, "the sink gets what the guest has not sent");
      sent.pop_front();
    }
    return taken;
  }
  size_t room = SIZE_MAX;
  std::deque<std::byte> sent;
};

struct World {
  World() { make_port(); }

  void make_port() {
    port = std::make_unique<Serial>(line, sink);
    port->set_on_input_space([this] { asked = true; });
  }
  uint8_t read(uint64_t offset) {
    std::byte value{};
    port->read(offset, std::span(&value, 1));
    return std::to_integer<uint8_t>(value);
  }
  void write(uint64_t offset, uint8_t value) {
    if (offset == 0 && !(read(3) & kDivisorLatch) && !(read(4) & kLoopback)) {
      // A byte that meets a full transmitter is lost, and the driver could have known.
      if (read(5) & kTransmitterEmpty) sink.sent.push_back(std::byte{value});
    }
    std::byte raw{value};
    port->write(offset, std::span<const std::byte>(&raw, 1));
  }
  std::vector<std::byte> save() {
    StateWriter state;
    port->save(state);
    fuzz::check(state.content().size() < Serial::kOutputLimit + Serial::kInputLimit + 256, "the port keeps too much");
    return state.content();
  }
  void move() {
    auto was = save();
    // A state is taken over with the sink as it is: one that takes nothing, so that all is still there.
    size_t room = std::exchange(sink.room, 0);
    make_port();
    StateReader reader(was);
    fuzz::check(port->restore(reader).has_value(), "the port refuses its own state");
    fuzz::check(save() == was, "the port's state is another after it was restored");
    sink.room = room;
    port->output_ready();
  }
  void receive(std::span<const std::byte> data) {
    size_t taken = port->receive(data);
    fuzz::check(taken <= data.size(), "the port takes more than there is");
    if (taken == data.size()) return;
    refused = true;
    asked = false;
  }
  // After the guest has read everything, a host that was refused is asked again.
  void drain_input() {
    write(4, 0);
    write(3, 0);
    for (size_t i = 0; i <= Serial::kInputLimit && (read(5) & kDataReady); i++) (void)read(0);
    fuzz::check(!(read(5) & kDataReady), "the port has more input than its limit");
    fuzz::check(!refused || asked, "the host waits for ever to send its input");
    refused = asked = false;
  }

  Line line;
  Sink sink;
  std::unique_ptr<Serial> port;
  bool refused = false, asked = false;
};

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 12) {
    case 0:
      return world.move();
    case 1: {
      auto data = input.bytes(input.take<uint8_t>());
      for (auto times = input.take<uint8_t>() % 32; times >= 0; times--) world.receive(data);
      return;
    }
    case 2:
      world.sink.room = input.take<uint8_t>();
      return world.port->output_ready();
    case 3:
      world.sink.room = SIZE_MAX;
      world.port->output_ready();
      return fuzz::check(world.sink.sent.empty(), "output stays in the port");
    case 4:
      return world.drain_input();
    case 5: {
      // Another width: such accesses read as zeroes and do nothing.
      std::array<std::byte, 8> wide;
      wide.fill(std::byte{0xff});
      auto before = world.save();
      world.port->write(input.take<uint8_t>() % 8, wide);
      world.port->read(input.take<uint8_t>() % 8, wide);
      fuzz::check(wide == std::array<std::byte, 8>{} && world.save() == before, "a wide access does something");
      return;
    }
    case 6:
      for (int i = input.take<uint8_t>() * 32; i > 0; i--) world.write(0, static_cast<uint8_t>(i));
      return;
    case 7:
    case 8:
      (void)world.read(input.take<uint8_t>() % 10);
      return;
    default: {
      uint64_t offset = input.take<uint8_t>() % 10;
      world.write(offset, input.take<uint8_t>());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  World world;
  fuzz::Input input(data, size);
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) step(world, input);
  world.drain_input();
  world.sink.room = SIZE_MAX;
  world.port->output_ready();
  fuzz::check(world.sink.sent.empty(), "output stays in the port");
  return 0;
}
