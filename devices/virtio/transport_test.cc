// SPDX-License-Identifier: Apache-2.0
// What all transports do, against drivers that follow virtio 1.3, 2.1 and 3.1, and against those that don't; and the
// transport's saved state.
#define BOOST_TEST_MODULE transport
#include "devices/virtio/transport.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "devices/virtio/features.h"
#include "devices/virtio/testing/echo_device.h"
#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/testing/hostile_state.h"

namespace nacre::virtio {
namespace {

using Half = TransportCore::Half;
using Part = TransportCore::QueuePart;

// Keeps what a driver would see, with the bits of MMIO's InterruptStatus.
struct TestSink final : InterruptSink {
  void queue_used(uint16_t queue) override {
    queues |= 1u << queue;
    raise(1);
  }
  void config_changed() override { raise(2); }
  void clear() override { pending = 0; }
  void raise(uint32_t cause) {
    pending |= cause;
    count++;
  }
  std::atomic<uint32_t> pending = 0;
  std::atomic<uint32_t> queues = 0;
  std::atomic<int> count = 0;
};

struct Fixture {
  Fixture() : driver({.memory_mib = 2, .queue_sizes = {16, 8}}) {
    core = std::move(*TransportCore::create(device, driver.memory(), sink));
  }

  uint32_t status() { return core->status(); }
  void add_status(uint32_t bits) { core->write_status(status() | bits); }
  void reset() { core->write_status(0); }
  void set_features(uint64_t features) {
    for (uint32_t i : {0, 1}) core->write_driver_features(i, static_cast<uint32_t>(features >> (32 * i)));
  }
  void set_address(uint32_t index, Part part, GuestAddress address) {
    core->set_queue_address(index, part, Half::low, static_cast<uint32_t>(address.value));
    core->set_queue_address(index, part, Half::high, static_cast<uint32_t>(address.value >> 32));
  }
  void configure(uint32_t index, const QueueConfig& config) {
    core->set_queue_size(index, config.size);
    set_address(index, Part::descriptors, config.descriptors);
    set_address(index, Part::driver_ring, config.driver_ring);
    set_address(index, Part::device_ring, config.device_ring);
  }
  void make_ready(uint32_t index, const QueueConfig& config) {
    configure(index, config);
    core->set_queue_ready(index, true);
  }
  void negotiate(uint64_t features) {
    add_status(kStatusAcknowledge);
    add_status(kStatusDriver);
    set_features(features);
    add_status(kStatusFeaturesOk);
  }
  void bring_up() {
    negotiate(driver.features());
    for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
    add_status(kStatusDriverOk);
    BOOST_REQUIRE(status() == 15u);
  }
  uint64_t kicks(size_t index) { return drain_eventfd(core->queue_event(index)); }

  testing::EchoDevice device;
  TestSink sink;
  testing::FakeDriver driver;
  std::unique_ptr<TransportCore> core;
};

BOOST_FIXTURE_TEST_SUITE(status_machine, Fixture)

BOOST_AUTO_TEST_CASE(order_is_kept) {
  add_status(kStatusDriver);
  BOOST_TEST(status() == 0u);
  add_status(kStatusAcknowledge);
  add_status(kStatusFeaturesOk);
  BOOST_TEST(status() == 1u);
  add_status(kStatusDriver);
  add_status(kStatusDriverOk);
  BOOST_TEST(status() == 3u);
  core->write_status(kStatusAcknowledge);  // clearing a bit
  BOOST_TEST(status() == 3u);
  BOOST_TEST(device.activations == 0);
}

BOOST_AUTO_TEST_CASE(features_refused) {
  for (uint64_t features : {uint64_t{0}, uint64_t{kFeatureEventIdx}, uint64_t{kFeatureVersion1 | 1},
                            uint64_t{kFeatureVersion1 | 1ull << 63}}) {
    reset();
    negotiate(features);
    BOOST_TEST(status() == (kStatusAcknowledge | kStatusDriver));
    add_status(kStatusDriverOk);
    BOOST_TEST(status() == (kStatusAcknowledge | kStatusDriver));
  }
  set_features(kFeatureVersion1);  // a driver may try again
  add_status(kStatusFeaturesOk);
  BOOST_TEST(status() == 11u);
  set_features(kFeatureVersion1 | 1);  // but then it is settled
  for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
  add_status(kStatusDriverOk);
  BOOST_TEST(device.activation->features == kFeatureVersion1);
}

BOOST_AUTO_TEST_CASE(features_select_out_of_range) {
  add_status(kStatusAcknowledge);
  add_status(kStatusDriver);
  set_features(kFeatureVersion1);
  for (uint32_t select : {2u, 32u, 0xffffffffu}) {
    core->write_driver_features(select, 0xffffffff);
  }
  add_status(kStatusFeaturesOk);
  BOOST_TEST(status() == 11u);
}

BOOST_AUTO_TEST_CASE(failed_driver_stays_failed) {
  negotiate(driver.features());
  add_status(kStatusFailed);
  add_status(kStatusDriverOk);
  BOOST_TEST(device.activations == 0);
  reset();
  bring_up();
}

BOOST_AUTO_TEST_CASE(queue_left_out) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  add_status(kStatusDriverOk);
  BOOST_REQUIRE(device.activation.has_value());
  BOOST_REQUIRE(device.activation->queues.size() == 2u);
  BOOST_TEST(device.activation->queues[0].ring.size() == 16u);
  BOOST_TEST(!device.activation->queues[1].ring.pop()->has_value());
}

BOOST_AUTO_TEST_CASE(device_refuses) {
  device.refuse = true;
  negotiate(driver.features());
  for (uint32_t i : {0, 1}) make_ready(i, driver.queue(i).config());
  add_status(kStatusDriverOk);
  BOOST_TEST(status() == (15u | kStatusNeedsReset));
  BOOST_TEST(sink.pending == 2u);
  device.refuse = false;
  reset();
  BOOST_TEST(status() == 0u);
  BOOST_TEST(sink.pending == 0u);
  bring_up();
}

BOOST_AUTO_TEST_CASE(reset_and_again) {
  for (int round = 0; round < 3; round++) {
    bring_up();
    auto stale = device.activation->interrupt;
    core->notify(0);
    int resets = device.resets;
    reset();
    BOOST_TEST(device.resets == resets + 1);
    BOOST_TEST(status() == 0u);
    BOOST_TEST(kicks(0) == 0u);  // a notification before the reset is not for the next driver
    int before = sink.count;
    stale->queue_used(0);
    stale->config_changed();
    stale->device_broken();
    BOOST_TEST(sink.count == before);
    BOOST_TEST(sink.pending == 0u);
    BOOST_TEST(status() == 0u);
    for (uint32_t i : {0, 1}) {
      BOOST_TEST(!core->is_queue_ready(i));
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
    reset();
    returned = true;
  });
  while (!entered) std::this_thread::yield();
  interrupt->queue_used(0);  // neither deadlocks nor gets through
  core->notify(0);           // nor does a notification by another vCPU
  BOOST_TEST(sink.pending == 0u);
  BOOST_TEST(!returned);
  leave = true;
  vcpu.join();
  device.on_reset = nullptr;
}

BOOST_AUTO_TEST_CASE(interrupt_outlives_the_transport) {
  bring_up();
  auto interrupt = device.activation->interrupt;
  int resets = device.resets;
  core.reset();
  BOOST_TEST(device.resets == resets + 1);
  interrupt->queue_used(0);
  interrupt->device_broken();
  BOOST_TEST(sink.count == 0);
}

BOOST_AUTO_TEST_CASE(an_interrupt_names_its_queue) {
  bring_up();
  driver.queue(1).make_available(driver.queue(1).add({testing::bytes_of("ping")}, {4}));
  device.serve(1);
  BOOST_TEST(sink.queues == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(hostile, Fixture)

BOOST_AUTO_TEST_CASE(bad_queues_never_become_ready) {
  const QueueConfig good = driver.queue(0).config();
  auto refused = [&](auto change) {
    QueueConfig config = good;
    change(config);
    reset();
    negotiate(driver.features());
    make_ready(0, config);
    BOOST_TEST(!core->is_queue_ready(0));
    BOOST_TEST((status() & kStatusNeedsReset));
    BOOST_TEST(sink.count == 0);  // 2.1.2: no notification before DRIVER_OK
    add_status(kStatusDriverOk);
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
  reset();
  bring_up();
}

BOOST_AUTO_TEST_CASE(not_ready_before_features) {
  make_ready(0, driver.queue(0).config());
  BOOST_TEST(!core->is_queue_ready(0));
  BOOST_TEST(status() == 0u);
}

BOOST_AUTO_TEST_CASE(ready_can_be_taken_back_before_driver_ok) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  BOOST_TEST(core->is_queue_ready(0));
  core->set_queue_ready(0, false);
  BOOST_TEST(!core->is_queue_ready(0));
}

BOOST_AUTO_TEST_CASE(frozen_while_ready_and_after_driver_ok) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  core->set_queue_size(0, 8);  // ready: ignored
  make_ready(1, driver.queue(1).config());
  add_status(kStatusDriverOk);
  core->set_queue_ready(0, false);  // running: ignored
  BOOST_TEST(core->is_queue_ready(0));
  configure(0, {.size = 8, .descriptors = {}, .driver_ring = {}, .device_ring = {}});
  core->set_queue_ready(0, true);
  BOOST_TEST(device.activation->queues[0].ring.size() == 16u);
  driver.queue(0).make_available(driver.queue(0).add({testing::bytes_of("still")}, {5}));
  device.serve(0);
  auto used = driver.queue(0).pop_used();
  BOOST_REQUIRE(used.has_value());
  BOOST_TEST((used->written == testing::bytes_of("still")));
  BOOST_TEST(device.activations == 1);
  add_status(kStatusDriverOk);  // a second time
  BOOST_TEST(device.activations == 1);
}

BOOST_AUTO_TEST_CASE(broken_ring_marks_the_device) {
  bring_up();
  driver.queue(0).set_available_index(1000);
  device.serve(0);
  BOOST_TEST(status() == (15u | kStatusNeedsReset));
  BOOST_TEST(sink.pending == 2u);
  add_status(0);  // writing back what was read is no clearing of bits
  BOOST_TEST(status() == (15u | kStatusNeedsReset));
}

BOOST_AUTO_TEST_SUITE_END()

// A transport and a device whose states are the other's, over the same guest memory.
struct Saved : Fixture {
  std::vector<std::byte> save() {
    core->pause();
    StateWriter state;
    auto saved = core->save(state);
    BOOST_REQUIRE_MESSAGE(saved.has_value(), (saved ? "" : saved.error().message()));
    return state.content();
  }

  struct Restored {
    testing::EchoDevice device;
    TestSink sink;
    std::unique_ptr<TransportCore> core;
    Result<void> result;
  };
  std::unique_ptr<Restored> restore(std::span<const std::byte> state) {
    auto restored = std::make_unique<Restored>();
    restored->core = TransportCore::create(restored->device, driver.memory(), restored->sink).value();
    restored->core->pause();
    StateReader reader(state);
    restored->result = restored->core->restore(reader);
    if (restored->result) restored->result = reader.end();
    return restored;
  }

  // What a state can do that was not refused: the driver's next steps end in one of a transport's proper states.
  void use(Restored& restored) {
    restored.core->resume();
    for (size_t i = 0; restored.device.activation && i < 2; i++) {
      try {
        restored.device.serve(i);
      } catch (const std::logic_error&) {
        // A chain that the other side's state makes of this memory.
      }
    }
    restored.core->write_status(0);
    BOOST_REQUIRE(restored.core->status() == 0u);
    BOOST_REQUIRE(!restored.device.activation.has_value());
  }
};

BOOST_FIXTURE_TEST_SUITE(saved, Saved)

BOOST_AUTO_TEST_CASE(a_transport_at_work_goes_on_in_a_new_one) {
  bring_up();
  // One request answered, one taken as far as the ring, and one more once it runs again.
  auto send = [&](const char* text) {
    driver.queue(1).make_available(driver.queue(1).add({testing::bytes_of(text)}, {4}));
  };
  send("one.");
  device.serve(1);
  send("two.");
  auto state = save();
  auto restored = restore(state);
  BOOST_REQUIRE(restored->result.has_value());
  BOOST_TEST(restored->core->status() == 15u);
  BOOST_TEST(restored->core->config_generation() == core->config_generation());
  BOOST_TEST(restored->device.activation->features == driver.features());
  BOOST_TEST((restored->device.config == device.config));
  for (uint32_t i : {0, 1}) BOOST_TEST(restored->core->is_queue_ready(i));
  restored->core->resume();
  send("tri.");
  driver.queue(1).set_used_event(1);  // the driver has seen the first answer
  restored->device.serve(1);
  BOOST_TEST(restored->sink.queues == 2u);
  for (const char* text : {"one.", "two.", "tri."}) {
    auto used = driver.queue(1).pop_used();
    BOOST_REQUIRE(used.has_value());
    BOOST_TEST((used->written == testing::bytes_of(text)));
  }
  BOOST_TEST(!driver.queue(1).pop_used().has_value());
}

BOOST_AUTO_TEST_CASE(a_driver_in_the_middle_of_its_set_up_goes_on) {
  negotiate(driver.features());
  make_ready(0, driver.queue(0).config());
  configure(1, driver.queue(1).config());
  auto restored = restore(save());
  BOOST_REQUIRE(restored->result.has_value());
  TransportCore& there = *restored->core;
  BOOST_TEST(there.status() == 11u);
  BOOST_TEST((there.is_queue_ready(0) && !there.is_queue_ready(1)));
  there.set_queue_ready(1, true);
  there.resume();
  there.write_status(15);
  BOOST_REQUIRE(restored->device.activation.has_value());
  BOOST_TEST(restored->device.activation->queues[1].ring.size() == 8u);
}

BOOST_AUTO_TEST_CASE(a_broken_device_stays_broken_until_its_reset) {
  bring_up();
  device.activation->interrupt->device_broken();
  auto restored = restore(save());
  BOOST_REQUIRE(restored->result.has_value());
  BOOST_TEST(restored->core->status() == (15u | kStatusNeedsReset));
  restored->core->write_status(0);
  BOOST_TEST(restored->core->status() == 0u);
}

BOOST_AUTO_TEST_CASE(a_device_that_refused_its_driver_is_restored_as_that) {
  device.refuse = true;
  negotiate(driver.features());
  add_status(kStatusDriverOk);
  auto restored = restore(save());
  BOOST_REQUIRE(restored->result.has_value());
  BOOST_TEST(restored->core->status() == (15u | kStatusNeedsReset));
  BOOST_TEST(restored->device.activations == 0);
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused_and_leaves_a_device_as_after_a_reset) {
  bring_up();
  auto state = save();
  for (size_t size = 0; size < state.size(); size++) {
    auto restored = restore(std::span(state).first(size));
    BOOST_TEST(!restored->result.has_value());
    BOOST_TEST(restored->core->status() == 0u);
    BOOST_TEST(!restored->device.activation.has_value());
  }
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_refused_or_harmless) {
  bring_up();
  driver.queue(0).make_available(driver.queue(0).add({testing::bytes_of("half")}, {4}));
  auto state = save();
  testing::MemoryContent content(driver.memory());
  size_t refused = 0;
  for (size_t i = 0; i < state.size() * 8; i++) {
    content.put_back();
    auto flipped = state;
    flipped[i / 8] ^= std::byte{1} << (i % 8);
    auto restored = restore(flipped);
    if (!restored->result) refused++;
    use(*restored);
  }
  BOOST_TEST(refused > state.size());
}

BOOST_AUTO_TEST_CASE(queues_outside_memory_are_refused) {
  bring_up();
  auto state = save();
  testing::FakeDriver small({.memory_mib = 1, .memory_start = 0x40000000, .queue_sizes = {16, 8}});
  testing::EchoDevice other;
  TestSink other_sink;
  auto there = TransportCore::create(other, small.memory(), other_sink).value();
  there->pause();
  StateReader reader(state);
  BOOST_TEST(!there->restore(reader).has_value());
  BOOST_TEST(there->status() == 0u);
}

BOOST_AUTO_TEST_CASE(a_driver_that_is_there_is_left_alone) {
  bring_up();
  auto state = save();
  core->resume();
  StateReader reader(state);
  BOOST_TEST(!core->restore(reader).has_value());
  BOOST_TEST(status() == 15u);
  BOOST_TEST(device.activation.has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio
