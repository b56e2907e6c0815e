// SPDX-License-Identifier: Apache-2.0
// Fuzzes the restoring of saved states. The first byte of the input chooses the device, or the sealed form of a state;
// the rest is the state. The rings over which the state is restored have requests in them. If a state is accepted, the
// device must go on working with it.
#include "devices/legacy/serial.h"
#include "devices/virtio/mem/device.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/vsock/device.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;

constexpr uint64_t kBlock = 2 << 20;

struct NoIrq final : IrqLine {
  void trigger() override {}
};

struct NoBackend final : MemBackend {
  Result<void> open_chunk(uint64_t, uint64_t) override { return {}; }
  void close_chunk(uint64_t, uint64_t) override {}
  Result<void> discard(uint64_t, uint64_t) override { return {}; }
};

struct SlowSink final : SerialSink {
  size_t write(std::span<const std::byte> data) override { return data.size() / 2; }
};

// Restores a device through the transport, so that status, features and queues come from the state too.
void try_device(VirtioDevice& device, EventLoop& loop, const GuestMemory& memory, std::span<const std::byte> state) {
  NoIrq irq;
  auto transport = MmioTransport::create(device, memory, irq).value();
  transport->pause();
  StateReader reader(state);
  (void)transport->restore(reader);
  transport->resume();
  for (uint32_t queue = 0; queue < transport->queue_count(); queue++) {
    transport->write(MmioTransport::kQueueNotifyOffset, std::as_bytes(std::span(&queue, 1)));
  }
  for (int i = 0; i < 4; i++) {
    fuzz::check(loop.run_once(0).has_value(), "the loop ends");
  }
}

void try_vsock(testing::FakeDriver& driver, EventLoop& loop, std::span<const std::byte> state) {
  VsockOptions options{.guest_cid = 3, .uds_path = {}, .listener = {}};
  auto device = VsockDevice::create(loop, std::move(options)).value();
  try_device(*device, loop, driver.memory(), state);
}

void try_mem(testing::FakeDriver& driver, EventLoop& loop, std::span<const std::byte> state) {
  NoBackend backend;
  auto blocks = std::make_shared<PluggedBlocks>(kBlock, 16);
  auto device =
      MemDevice::create(loop, backend, {.start = GuestAddress{1ull << 32}, .chunk_size = 4 * kBlock, .blocks = blocks})
          .value();
  try_device(*device, loop, driver.memory(), state);
  fuzz::check(device->plugged_size() == blocks->count(0, 16) * kBlock, "the device counts other blocks");
}

void try_serial(std::span<const std::byte> state) {
  NoIrq irq;
  SlowSink sink;
  Serial port(irq, sink);
  StateReader reader(state);
  (void)port.restore(reader);
  std::byte value{0xff};
  for (uint64_t i = 0; i < Serial::kWindowSize; i++) {
    port.read(i, std::span(&value, 1));
    port.write(i, std::span<const std::byte>(&value, 1));
  }
  StateWriter again;
  port.save(again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  auto which = input.take<uint8_t>();
  // Copy the state into a buffer of its exact size, so that an access beyond it is found.
  auto rest = input.rest();
  std::vector<std::byte> state(rest.begin(), rest.end());
  testing::FakeDriver driver({.memory_mib = 1, .queue_sizes = {16, 16, 4}});
  for (size_t i = 0; i < 3; i++) driver.queue(i).send({testing::bytes_of("a request")}, {64});
  auto loop = EventLoop::create().value();
  switch (which % 4) {
    case 0:
      try_vsock(driver, *loop, state);
      break;
    case 1:
      try_mem(driver, *loop, state);
      break;
    case 2:
      try_serial(state);
      break;
    default:
      // Open the sealed form in which a state is stored.
      if (auto opened = open_state(state)) (void)opened->section("machine", 1);
  }
  return 0;
}
