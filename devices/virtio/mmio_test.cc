// The MMIO transport against drivers that follow virtio 1.3, 3.1 and 4.2, and against those that don't.
#define BOOST_TEST_MODULE mmio
#include "devices/virtio/mmio.h"

#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>

#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio {
namespace {

constexpr uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64, kFailed = 128;
constexpr uint64_t kDeviceFeature = 1ull << 3, kHighFeature = 1ull << 40;

// Answers each chain with the bytes that it reads, when told to.
class EchoDevice final : public VirtioDevice {
 public:
  uint32_t type() const override { return 42; }
  uint64_t features() const override { return kDeviceFeature | kHighFeature; }
  std::span<const uint16_t> queue_max_sizes() const override { return sizes; }
  void read_config(uint64_t offset, std::span<std::byte> data) override {
    for (auto& value : data) value = offset < config.size() ? config[offset++] : std::byte{0};
  }
  void write_config(uint64_t offset, std::span<const std::byte> data) override {
    for (auto value : data) {
      if (offset < config.size()) config[offset++] = value;
    }
  }
  Result<void> activate(Activation given) override {
    activations++;
    if (refuse) return fail("no");
    activation = std::move(given);
    return {};
  }
  void reset() override {
    resets++;
    if (on_reset) on_reset();
    activation.reset();
  }

  void serve(size_t index) {
    Queue& ring = activation->queues.at(index).ring;
    for (;;) {
      auto chain = ring.pop();
      if (!chain) return activation->interrupt->device_broken();
      if (!*chain) break;
      testing::Bytes data((*chain)->reader.remaining());
      BOOST_REQUIRE((*chain)->reader.read(data).has_value());
      BOOST_REQUIRE((*chain)->writer.write(data).has_value());
      BOOST_REQUIRE(ring.push(**chain, static_cast<uint32_t>(data.size())).has_value());
    }
    if (ring.needs_interrupt()) activation->interrupt->queue_used(static_cast<uint16_t>(index));
  }

  std::vector<uint16_t> sizes{16, 8};
  testing::Bytes config = testing::bytes_of("config space");
  std::optional<Activation> activation;
  std::function<void()> on_reset;
  bool refuse = false;
  int activations = 0, resets = 0;
};

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
  BOOST_TEST(offered == (kDeviceFeature | kHighFeature | kFeatureVersion1 | kFeatureEventIdx | kFeatureIndirectDesc));
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

BOOST_FIXTURE_TEST_SUITE(status_machine, Fixture)

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

BOOST_AUTO_TEST_CASE(order_is_kept) {
  add_status(kDriver);
  BOOST_TEST(status() == 0u);
  add_status(kAcknowledge);
  add_status(kFeaturesOk);
  BOOST_TEST(status() == 1u);
  add_status(kDriver);
  add_status(kDriverOk);
  BOOST_TEST(status() == 3u);
  set(0x70, kAcknowledge);  // clearing a bit
  BOOST_TEST(status() == 3u);
  BOOST_TEST(device.activations == 0);
}

BOOST_AUTO_TEST_CASE(features_refused) {
  for (uint64_t features : {uint64_t{0}, uint64_t{kFeatureEventIdx}, uint64_t{kFeatureVersion1 | 1},
                            uint64_t{kFeatureVersion1 | 1ull << 63}}) {
    set(0x70, 0);
    negotiate(features);
    BOOST_TEST(status() == (kAcknowledge | kDriver));
    add_status(kDriverOk);
    BOOST_TEST(status() == (kAcknowledge | kDriver));
  }
  set_features(kFeatureVersion1);  // a driver may try again
  add_status(kFeaturesOk);
  BOOST_TEST(status() == 11u);
  set_features(kFeatureVersion1 | 1);  // but then it is settled
  for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
  add_status(kDriverOk);
  BOOST_TEST(device.activation->features == kFeatureVersion1);
}

BOOST_AUTO_TEST_CASE(features_select_out_of_range) {
  add_status(kAcknowledge);
  add_status(kDriver);
  set_features(kFeatureVersion1);
  for (uint32_t select : {2u, 32u, 0xffffffffu}) {
    set(0x24, select);
    set(0x20, 0xffffffff);
  }
  add_status(kFeaturesOk);
  BOOST_TEST(status() == 11u);
}

BOOST_AUTO_TEST_CASE(failed_driver_stays_failed) {
  negotiate(driver.features());
  add_status(kFailed);
  add_status(kDriverOk);
  BOOST_TEST(device.activations == 0);
  set(0x70, 0);
  bring_up();
}

BOOST_AUTO_TEST_CASE(queue_left_out) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  add_status(kDriverOk);
  BOOST_REQUIRE(device.activation.has_value());
  BOOST_REQUIRE(device.activation->queues.size() == 2u);
  BOOST_TEST(device.activation->queues[0].ring.size() == 16u);
  BOOST_TEST(!device.activation->queues[1].ring.pop()->has_value());
}

BOOST_AUTO_TEST_CASE(device_refuses) {
  device.refuse = true;
  negotiate(driver.features());
  for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
  add_status(kDriverOk);
  BOOST_TEST(status() == (15u | kNeedsReset));
  BOOST_TEST(get(0x60) == 2u);
  device.refuse = false;
  set(0x70, 0);
  BOOST_TEST(status() == 0u);
  BOOST_TEST(get(0x60) == 0u);
  bring_up();
}

BOOST_AUTO_TEST_CASE(reset_and_again) {
  for (int round = 0; round < 3; round++) {
    bring_up();
    auto stale = device.activation->interrupt;
    set(0x50, 0);
    int resets = device.resets;
    set(0x70, 0);
    BOOST_TEST(device.resets == resets + 1);
    BOOST_TEST(status() == 0u);
    BOOST_TEST(kicks(0) == 0u);  // a notification before the reset is not for the next driver
    int before = irq.count;
    stale->queue_used(0);
    stale->config_changed();
    stale->device_broken();
    BOOST_TEST(irq.count == before);
    BOOST_TEST(get(0x60) == 0u);
    BOOST_TEST(status() == 0u);
    for (uint32_t i : {0, 1}) {
      set(0x30, i);
      BOOST_TEST(get(0x44) == 0u);
    }
    driver.restart();
  }
}

BOOST_AUTO_TEST_CASE(reset_waits_for_the_device) {
  bring_up();
  std::atomic<bool> entered = false, leave = false, returned = false;
  // A device's thread that still signals while its reset is waited for.
  device.on_reset = [&] {
    entered = true;
    while (!leave) std::this_thread::yield();
  };
  auto interrupt = device.activation->interrupt;
  std::thread vcpu([&] {
    set(0x70, 0);
    returned = true;
  });
  while (!entered) std::this_thread::yield();
  interrupt->queue_used(0);  // neither deadlocks nor gets through
  set(0x50, 0);              // nor does a notification by another vCPU
  BOOST_TEST(get(0x60) == 0u);
  BOOST_TEST(!returned);
  leave = true;
  vcpu.join();
  device.on_reset = nullptr;
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

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(hostile, Fixture)

BOOST_AUTO_TEST_CASE(broken_ring_marks_the_device) {
  bring_up();
  driver.queue(0).set_available_index(1000);
  device.serve(0);
  BOOST_TEST(status() == (15u | kNeedsReset));
  BOOST_TEST(get(0x60) == 2u);
  add_status(0);  // writing back what was read is no clearing of bits
  BOOST_TEST(status() == (15u | kNeedsReset));
}

BOOST_AUTO_TEST_CASE(bad_queues_never_become_ready) {
  const QueueConfig good = driver.queue(0).config();
  auto refused = [&](auto change) {
    QueueConfig config = good;
    change(config);
    set(0x70, 0);
    negotiate(driver.features());
    make_ready(0, config);
    BOOST_TEST(get(0x44) == 0u);
    BOOST_TEST((status() & kNeedsReset));
    BOOST_TEST(irq.count == 0);  // 2.1.2: no notification before DRIVER_OK
    add_status(kDriverOk);
    BOOST_TEST(device.activations == 0);
  };
  refused([](QueueConfig& config) { config.size = 0; });
  refused([](QueueConfig& config) { config.size = 12; });
  refused([](QueueConfig& config) { config.size = 32; });  // a power of two above the device's maximum
  refused([](QueueConfig& config) { config.size = 0xffff; });
  refused([](QueueConfig& config) { config.descriptors.value += 8; });
  refused([](QueueConfig& config) { config.driver_ring.value += 1; });
  refused([](QueueConfig& config) { config.device_ring.value += 2; });
  refused([](QueueConfig& config) { config.descriptors.value = 0; });
  refused([](QueueConfig& config) { config.driver_ring.value = 0x10000000 + (2 << 20) - 2; });
  refused([](QueueConfig& config) { config.device_ring.value = 0xfffffffffffffffc; });
  set(0x70, 0);
  bring_up();
}

BOOST_AUTO_TEST_CASE(size_is_not_truncated) {
  negotiate(driver.features());
  configure(0, driver.queue(0).config());
  set(0x38, 0x10010);
  set(0x44, 1);
  BOOST_TEST(get(0x44) == 0u);
}

BOOST_AUTO_TEST_CASE(not_ready_before_features) {
  make_ready(0, driver.queue(0).config());
  BOOST_TEST(get(0x44) == 0u);
  BOOST_TEST(status() == 0u);
}

BOOST_AUTO_TEST_CASE(frozen_while_ready_and_after_driver_ok) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  set(0x38, 8);  // ready: ignored
  make_ready(1, driver.queue(1).config());
  add_status(kDriverOk);
  set(0x30, 0);
  set(0x44, 0);  // running: ignored
  BOOST_TEST(get(0x44) == 1u);
  configure(0, {.size = 8, .descriptors = {}, .driver_ring = {}, .device_ring = {}});
  set(0x44, 1);
  BOOST_TEST(device.activation->queues[0].ring.size() == 16u);
  driver.queue(0).make_available(driver.queue(0).add({testing::bytes_of("still")}, {5}));
  device.serve(0);
  auto used = driver.queue(0).pop_used();
  BOOST_REQUIRE(used.has_value());
  BOOST_TEST((used->written == testing::bytes_of("still")));
  BOOST_TEST(device.activations == 1);
  add_status(kDriverOk);  // a second time
  BOOST_TEST(device.activations == 1);
}

BOOST_AUTO_TEST_CASE(ready_can_be_taken_back_before_driver_ok) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  BOOST_TEST(get(0x44) == 1u);
  set(0x44, 0);
  BOOST_TEST(get(0x44) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio
