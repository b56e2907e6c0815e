// SPDX-License-Identifier: Apache-2.0
// The MMIO transport against drivers that follow virtio 1.3, 3.1 and 4.2, and against those that don't.
#define BOOST_TEST_MODULE mmio
#include "devices/virtio/mmio.h"

#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>

#include "devices/virtio/features.h"
#include "devices/virtio/testing/echo_device.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio {
namespace {

using testing::EchoDevice;

constexpr uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64;

struct CountingIrq final : IrqLine {
  void trigger() override { count++; }
  std::atomic<int> count = 0;
};

struct Fixture {
  Fixture() : driver({.memory_mib = 2, .queue_sizes = {16, 8}}) {
    transport = std::move(*MmioTransport::create(device, driver.memory(), irq));
  }

  uint32_t get(uint64_t offset) {
    uint32_t value = 0xdddddddd;
    transport->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void set(uint64_t offset, uint32_t value) { transport->write(offset, std::as_bytes(std::span(&value, 1))); }
  uint32_t status() { return get(0x70); }
  void add_status(uint32_t bits) { set(0x70, status() | bits); }
  void set_features(uint64_t features) {
    for (uint32_t i : {0, 1}) {
      set(0x24, i);
      set(0x20, static_cast<uint32_t>(features >> (32 * i)));
    }
  }
  void set_address(uint64_t offset, GuestAddress address) {
    set(offset, static_cast<uint32_t>(address.value));
    set(offset + 4, static_cast<uint32_t>(address.value >> 32));
  }
  void configure(uint32_t index, const QueueConfig& config) {
    set(0x30, index);
    set(0x38, config.size);
    set_address(0x80, config.descriptors);
    set_address(0x90, config.driver_ring);
    set_address(0xa0, config.device_ring);
  }
  void make_ready(uint32_t index, const QueueConfig& config) {
    configure(index, config);
    set(0x44, 1);
  }
  void negotiate(uint64_t features) {
    add_status(kAcknowledge);
    add_status(kDriver);
    set_features(features);
    add_status(kFeaturesOk);
  }
  void bring_up() {
    negotiate(driver.features());
    for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
    add_status(kDriverOk);
    BOOST_REQUIRE(status() == 15u);
  }
  uint64_t kicks(size_t index) {
    uint64_t count = 0;
    return ::read(transport->queue_event(index), &count, sizeof(count)) == sizeof(count) ? count : 0;
  }

  EchoDevice device;
  CountingIrq irq;
  testing::FakeDriver driver;
  std::unique_ptr<MmioTransport> transport;
};

BOOST_FIXTURE_TEST_SUITE(registers, Fixture)

BOOST_AUTO_TEST_CASE(identity) {
  BOOST_TEST(get(0x00) == 0x74726976u);
  BOOST_TEST(get(0x04) == 2u);
  BOOST_TEST(get(0x08) == 42u);
  BOOST_TEST(get(0x70) == 0u);
  BOOST_TEST(transport->queue_count() == 2u);
  uint64_t offered = 0;
  for (uint32_t i : {0, 1}) {
    set(0x14, i);
    offered |= static_cast<uint64_t>(get(0x10)) << (32 * i);
  }
  BOOST_TEST(offered == (EchoDevice::kFeature | EchoDevice::kHighFeature | kFeatureVersion1 | kFeatureEventIdx |
                         kFeatureIndirectDesc));
  set(0x14, 2);
  BOOST_TEST(get(0x10) == 0u);
}

BOOST_AUTO_TEST_CASE(no_shared_memory) {
  set(0xac, 0);
  for (uint64_t offset : {0xb0, 0xb4, 0xb8, 0xbc}) BOOST_TEST(get(offset) == 0xffffffffu);
}

BOOST_AUTO_TEST_CASE(queue_select_is_checked) {
  BOOST_TEST(get(0x34) == 16u);
  set(0x30, 1);
  BOOST_TEST(get(0x34) == 8u);
  for (uint32_t index : {2u, 0x10000u, 0xffffffffu}) {
    set(0x30, index);
    BOOST_TEST(get(0x34) == 0u);
    set(0x38, 8);
    set(0x44, 1);
    BOOST_TEST(get(0x44) == 0u);
  }
}

BOOST_AUTO_TEST_CASE(only_aligned_words) {
  for (size_t size : {1, 2, 8}) {
    std::array<std::byte, 8> data;
    data.fill(std::byte{0xff});
    transport->read(0, std::span(data).first(size));
    BOOST_TEST((data[0] == std::byte{0}));
    data.fill(std::byte{kAcknowledge});
    transport->write(0x70, std::span<const std::byte>(data).first(size));
    BOOST_TEST(status() == 0u);
  }
  BOOST_TEST(get(2) == 0u);
  set(0x6e, 0xffffffff);
  BOOST_TEST(status() == 0u);
}

BOOST_AUTO_TEST_CASE(every_offset_with_every_size) {
  std::array<std::byte, 8> data;
  for (uint64_t offset = 0; offset < MmioTransport::kWindowSize; offset++) {
    for (size_t size : {1, 2, 4, 8}) {
      data.fill(std::byte(offset * 7));
      transport->write(offset, std::span<const std::byte>(data).first(size));
      transport->read(offset, std::span(data).first(size));
    }
  }
  BOOST_TEST(device.activations == 0);
}

BOOST_AUTO_TEST_CASE(config_space) {
  add_status(kAcknowledge);
  std::array<std::byte, 4> data;
  transport->read(0x100, data);
  BOOST_TEST((data[0] == std::byte{'c'}));
  transport->read(0x100 + 10, data);
  BOOST_TEST((data[1] == std::byte{'e'} && data[2] == std::byte{0}));
  transport->read(0xffc, data);
  BOOST_TEST((data[0] == std::byte{0}));
  data.fill(std::byte{'X'});
  transport->write(0x100, data);  // no driver has introduced itself
  BOOST_TEST((device.config[0] == std::byte{'c'}));
  add_status(kDriver);
  transport->write(0x100, std::span<const std::byte>(data).first(1));
  BOOST_TEST((device.config[0] == std::byte{'X'} && device.config[1] == std::byte{'o'}));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(driver_at_work, Fixture)

BOOST_AUTO_TEST_CASE(request_by_software_notification) {
  bring_up();
  BOOST_TEST(device.activations == 1);
  BOOST_TEST(device.activation->features == driver.features());
  driver.queue(1).make_available(driver.queue(1).add({testing::bytes_of("ping")}, {4}));
  set(0x50, 1);
  BOOST_TEST(kicks(1) == 1u);
  BOOST_TEST(kicks(0) == 0u);
  device.serve(1);
  BOOST_TEST(irq.count == 1);
  BOOST_TEST(get(0x60) == 1u);
  set(0x64, 1);
  BOOST_TEST(get(0x60) == 0u);
  BOOST_TEST((driver.queue(1).pop_used()->written == testing::bytes_of("ping")));
  for (uint32_t index : {2u, 0x10001u, 0xffffffffu}) set(0x50, index);
  BOOST_TEST(kicks(0) + kicks(1) == 0u);
}

BOOST_AUTO_TEST_CASE(config_change) {
  bring_up();
  uint32_t generation = get(0xfc);
  device.activation->interrupt->config_changed();
  BOOST_TEST(get(0xfc) == generation + 1);
  BOOST_TEST(get(0x60) == 2u);
  BOOST_TEST(irq.count == 1);
  device.activation->interrupt->queue_used(0);
  BOOST_TEST(get(0x60) == 3u);
  set(0x64, 2);
  BOOST_TEST(get(0x60) == 1u);
}

BOOST_AUTO_TEST_CASE(broken_ring_marks_the_device) {
  bring_up();
  driver.queue(0).set_available_index(1000);
  device.serve(0);
  BOOST_TEST(status() == (15u | kNeedsReset));
  BOOST_TEST(get(0x60) == 2u);
  add_status(0);  // writing back what was read is no clearing of bits
  BOOST_TEST(status() == (15u | kNeedsReset));
}

BOOST_AUTO_TEST_CASE(size_is_not_truncated) {
  negotiate(driver.features());
  configure(0, driver.queue(0).config());
  set(0x38, 0x10010);
  set(0x44, 1);
  BOOST_TEST(get(0x44) == 0u);
}

BOOST_AUTO_TEST_CASE(interrupt_outlives_the_transport) {
  bring_up();
  auto interrupt = device.activation->interrupt;
  int resets = device.resets;
  transport.reset();
  BOOST_TEST(device.resets == resets + 1);
  interrupt->queue_used(0);
  interrupt->device_broken();
  BOOST_TEST(irq.count == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// The registers of the transport itself; what lies below them is transport_test's.
BOOST_FIXTURE_TEST_CASE(registers_and_pending_interrupts_are_saved, Fixture) {
  bring_up();
  device.activation->interrupt->queue_used(0);
  set(0x30, 1);
  transport->pause();
  StateWriter state;
  BOOST_REQUIRE(transport->save(state).has_value());
  auto restore = [&](std::span<const std::byte> saved, auto check) {
    EchoDevice other;
    CountingIrq other_irq;
    auto there = MmioTransport::create(other, driver.memory(), other_irq).value();
    there->pause();
    StateReader reader(saved);
    check(there->restore(reader), *there, other_irq);
  };
  restore(state.content(), [](Result<void> result, MmioTransport& there, CountingIrq& line) {
    BOOST_REQUIRE(result.has_value());
    auto get = [&](uint64_t offset) {
      uint32_t value = 0;
      there.read(offset, std::as_writable_bytes(std::span(&value, 1)));
      return value;
    };
    BOOST_TEST(get(0x70) == 15u);
    BOOST_TEST(get(0x60) == 1u);
    BOOST_TEST(get(0x34) == 8u);  // the queue that was selected
    BOOST_TEST(line.count == 0);
    there.resume();
    BOOST_TEST(line.count == 1);
  });
  for (size_t size = 0; size < state.content().size(); size++) {
    restore(std::span(state.content()).first(size),
            [](Result<void> result, MmioTransport&, CountingIrq&) { BOOST_TEST(!result.has_value()); });
  }
}

}  // namespace
}  // namespace nacre::virtio
