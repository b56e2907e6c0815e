// SPDX-License-Identifier: Apache-2.0
// Fuzzes virtio over MMIO: accesses to registers in any order, with resets, kicks, broken devices and moves to a new
// transport in between.
//
// The device status only grows until a reset, in the order of the specification. The device is active after DRIVER_OK
// and at no other time. What the driver reads of a queue that is in use does not change. A move changes nothing that
// the driver can read.
#include "devices/virtio/mmio.h"
#include "devices/virtio/testing/echo_device.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;

constexpr uint64_t kStatus = 0x70, kQueueSelect = 0x30, kQueueReady = 0x44, kInterruptStatus = 0x60;
constexpr size_t kMaxSteps = 400;
// Where drivers read, without a side effect on what is read next.
constexpr uint64_t kReadable[] = {0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044, 0x060,
                                  0x070, 0x0b0, 0x0fc, 0x100, 0x104, 0x108, 0x10c};
constexpr uint64_t kWritable[] = {0x014, 0x020, 0x024, 0x030, 0x038, 0x044, 0x050, 0x064, 0x070,
                                  0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x100, 0x104};

struct Line final : IrqLine {
  void trigger() override { count++; }
  uint64_t count = 0;
};

struct World {
  World() { make_transport(); }

  void make_transport() {
    transport.reset();
    auto fresh = std::make_unique<testing::EchoDevice>();
    if (device) fresh->refuse = device->refuse;
    device = std::move(fresh);
    transport = MmioTransport::create(*device, driver.memory(), line).value();
  }
  uint32_t read(uint64_t offset) {
    uint32_t value = 0;
    transport->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(uint64_t offset, uint32_t value) { transport->write(offset, std::as_bytes(std::span(&value, 1))); }

  // Does what a driver does to set the device up, so that inputs need not find it out.
  void set_up(uint32_t queues) {
    for (uint32_t bits : {0u, kStatusAcknowledge, kStatusAcknowledge | kStatusDriver}) write(kStatus, bits);
    write(0x24, 1);
    write(0x20, 1);  // VERSION_1
    write(kStatus, kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk);
    for (uint32_t queue = 0; queue < queues; queue++) {
      const QueueConfig& config = driver.queue(queue).config();
      write(kQueueSelect, queue);
      write(0x38, config.size);
      uint64_t at = 0x80;
      for (GuestAddress part : {config.descriptors, config.driver_ring, config.device_ring}) {
        write(at, static_cast<uint32_t>(part.value));
        write(at + 4, static_cast<uint32_t>(part.value >> 32));
        at += 0x10;
      }
      write(kQueueReady, 1);
    }
  }

  void check_state() {
    uint32_t status = read(kStatus);
    auto needs = [status](uint32_t bit, uint32_t before) { return !(status & bit) || (status & before) == before; };
    bool in_order = needs(kStatusDriver, kStatusAcknowledge) && needs(kStatusFeaturesOk, kStatusDriver) &&
                    needs(kStatusDriverOk, kStatusFeaturesOk);
    fuzz::check(in_order, "the status has bits before their time");
    fuzz::check((status & last_status & ~kStatusNeedsReset) == (last_status & ~kStatusNeedsReset),
                "the status loses bits without a reset");
    last_status = status;
    bool active = device->activation.has_value();
    fuzz::check(!active || status & kStatusDriverOk, "a device is active before DRIVER_OK");
    fuzz::check(active || !(status & kStatusDriverOk) || status & kStatusNeedsReset, "DRIVER_OK without a device");
    fuzz::check(read(0) == 0x74726976 && read(4) == 2 && read(8) == 42, "the transport is another");
    if (!active) return;
    fuzz::check(device->activation->queues.size() == 2, "a device has another number of queues");
    fuzz::check((device->activation->features & ~(device->features() | testing_features())) == 0,
                "a device gets features that are not on offer");
  }
  static uint64_t testing_features() { return kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx; }

  void write_checked(uint64_t offset, uint32_t value) {
    bool was_active = device->activation.has_value();
    int activations = device->activations;
    write(offset, value);
    if (offset == kStatus && value == 0) {
      last_status = 0;
      fuzz::check(read(kStatus) == 0 && !device->activation && read(kInterruptStatus) == 0, "a reset leaves something");
      for (uint32_t queue = 0; queue < 3; queue++) {
        write(kQueueSelect, queue);
        fuzz::check(read(kQueueReady) == 0, "a reset leaves a queue ready");
      }
      write(kQueueSelect, 0);
    } else {
      fuzz::check(!was_active || device->activation.has_value(), "a device ends without a reset");
      fuzz::check(device->activations == activations || offset == kStatus, "a device is activated by another register");
    }
    check_state();
  }

  std::vector<uint32_t> all_registers() {
    std::vector<uint32_t> values;
    for (uint64_t offset : kReadable) values.push_back(read(offset));
    return values;
  }
  void move() {
    transport->pause();
    StateWriter state;
    fuzz::check(transport->save(state).has_value(), "a transport cannot be saved");
    auto before = all_registers();
    bool was_active = device->activation.has_value();
    // The rings may have been broken since: then the new device refuses them, and says so.
    make_transport();
    transport->pause();
    StateReader reader(state.content());
    if (!transport->restore(reader)) {
      fuzz::check(was_active, "a transport refuses its own state");
      transport->resume();
      return write_checked(kStatus, 0);
    }
    transport->resume();
    fuzz::check(all_registers() == before, "a move changes what the driver reads");
    fuzz::check(device->activation.has_value() == was_active, "a move begins or ends the device");
  }

  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16, 8}}};
  Line line;
  std::unique_ptr<testing::EchoDevice> device;
  std::unique_ptr<MmioTransport> transport;
  uint32_t last_status = 0;
};

void serve(World& world, size_t queue) {
  if (!world.device->activation) return;
  try {
    world.device->serve(queue);
  } catch (const std::logic_error&) {
    // The chain has no room for an answer.
  }
}

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 12) {
    case 0:
      return world.move();
    case 1:
      world.set_up(input.take<uint8_t>() % 3);
      world.last_status = world.read(kStatus);
      return;
    case 2:
      return world.write_checked(kStatus, world.read(kStatus) | 1u << input.take<uint8_t>() % 8);
    case 3:
      world.device->refuse = !world.device->refuse;
      return;
    case 4:
      world.driver.queue(input.take<uint8_t>() % 2).send({testing::bytes_of("text")}, {8});
      return;
    case 5:
      return serve(world, input.take<uint8_t>() % 2);
    case 6: {
      size_t queue = input.take<uint8_t>() % 2;
      uint64_t base = world.driver.memory().regions().front().start.value;
      world.driver.queue(queue).write_descriptor(
          input.take<uint8_t>() % 8,
          {base + input.take<uint16_t>(), input.take<uint8_t>(), input.take<uint8_t>(), input.take<uint8_t>()});
      return;
    }
    case 7: {
      // Any width and any place, in the window and beyond.
      auto data = input.bytes(input.take<uint8_t>() % 9);
      std::vector<std::byte> exact(data.begin(), data.end());
      uint64_t offset = input.take<uint16_t>() % 0x1100;
      if (offset == kStatus && exact.size() == 4) return;
      world.transport->write(offset, exact);
      world.transport->read(offset, exact);
      return world.check_state();
    }
    default: {
      uint64_t offset = input.one_of(kWritable);
      bool is_small = input.take<uint8_t>() & 1;
      return world.write_checked(offset, is_small ? input.take<uint8_t>() : input.take<uint32_t>());
    }
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
      // The driver has no descriptors left.
    }
  }
  world.write_checked(kStatus, 0);
  return 0;
}
