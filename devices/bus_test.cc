// SPDX-License-Identifier: Apache-2.0
#include "devices/bus.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <thread>

namespace nacre {
namespace {

struct Recorder final : BusDevice {
  void read(uint64_t offset, std::span<std::byte> data) override {
    last_offset = offset;
    std::ranges::fill(data, std::byte{0x42});
  }
  void write(uint64_t offset, std::span<const std::byte> data) override {
    last_offset = offset;
    written = data.size();
  }
  uint64_t last_offset = UINT64_MAX;
  size_t written = 0;
};

BOOST_AUTO_TEST_SUITE(bus)

BOOST_AUTO_TEST_CASE(finds_the_device) {
  Bus bus;
  Recorder low, high;
  BOOST_TEST(bus.add(0x2000, 0x1000, high).has_value());
  BOOST_TEST(bus.add(0x1000, 0x1000, low).has_value());
  std::array<std::byte, 4> data{};
  BOOST_TEST(bus.read(0x1ffc, data));
  BOOST_TEST(low.last_offset == 0xffcu);
  BOOST_TEST((data[3] == std::byte{0x42}));
  BOOST_TEST(bus.write(0x2000, data));
  BOOST_TEST(high.last_offset == 0u);
  BOOST_TEST(high.written == 4u);
}

BOOST_AUTO_TEST_CASE(nobody_there) {
  Bus bus;
  Recorder device;
  BOOST_TEST(bus.add(0x1000, 0x10, device).has_value());
  std::array<std::byte, 4> data;
  for (uint64_t address : {uint64_t{0}, uint64_t{0xffe}, uint64_t{0x100d}, uint64_t{0x1010}, UINT64_MAX}) {
    data = {};
    BOOST_TEST(!bus.read(address, data));
    BOOST_TEST(std::ranges::all_of(data, [](std::byte value) { return value == std::byte{0xff}; }));
    BOOST_TEST(!bus.write(address, data));
  }
  BOOST_TEST(device.last_offset == UINT64_MAX);
}

BOOST_AUTO_TEST_CASE(overlaps_are_refused) {
  Bus bus;
  Recorder device;
  BOOST_TEST(bus.add(0x1000, 0x1000, device).has_value());
  BOOST_TEST(!bus.add(0x1000, 0x1000, device).has_value());
  BOOST_TEST(!bus.add(0x0800, 0x0801, device).has_value());
  BOOST_TEST(!bus.add(0x1fff, 1, device).has_value());
  BOOST_TEST(!bus.add(0, UINT64_MAX, device).has_value());
  BOOST_TEST(!bus.add(0x3000, 0, device).has_value());
  BOOST_TEST(!bus.add(UINT64_MAX, 2, device).has_value());
  BOOST_TEST(bus.add(0x0800, 0x800, device).has_value());
  BOOST_TEST(bus.add(0x2000, 1, device).has_value());
  BOOST_TEST(bus.add(UINT64_MAX, 1, device).has_value());
  std::array<std::byte, 1> data{};
  BOOST_TEST(bus.read(UINT64_MAX, data));
}

BOOST_AUTO_TEST_CASE(ranges_move_and_go) {
  Bus bus;
  Recorder device, other;
  std::array<std::byte, 4> data{};
  BOOST_REQUIRE((bus.add(0x1000, 0x1000, device).has_value() && bus.add(0x4000, 0x1000, other).has_value()));
  BOOST_TEST(bus.move(0x1000, 0x1800).has_value());  // over a part of itself
  BOOST_TEST(!bus.read(0x1000, data));
  BOOST_TEST(bus.read(0x27fc, data));
  BOOST_TEST(device.last_offset == 0xffcu);
  BOOST_TEST(!bus.move(0x1800, 0x3800).has_value());
  BOOST_TEST(!bus.move(0x1800, UINT64_MAX).has_value());
  BOOST_TEST(bus.read(0x1800, data));  // where it was
  BOOST_TEST(!bus.move(0x1000, 0x8000).has_value());
  BOOST_TEST(!bus.remove(0x1801).has_value());
  BOOST_TEST(bus.remove(0x1800).has_value());
  BOOST_TEST(!bus.read(0x1800, data));
  BOOST_TEST(bus.read(0x4000, data));
  BOOST_TEST(bus.add(0x1000, 0x3000, device).has_value());
}

// Answers with the number that it was given, and moves a range of its own when written to.
struct Mover final : BusDevice {
  explicit Mover(Bus& its_bus) : bus(its_bus) {}
  void read(uint64_t offset, std::span<std::byte> data) override { std::ranges::fill(data, std::byte(offset)); }
  void write(uint64_t, std::span<const std::byte>) override {
    uint64_t next = base == 0x10000 ? 0x20000 : 0x10000;
    if (!bus.move(base, next)) std::abort();
    base = next;
  }
  Bus& bus;
  uint64_t base = 0x10000;
};

// For ThreadSanitizer above all: vCPUs read while one moves a device from within an access, and another thread brings a
// device and takes it away.
BOOST_AUTO_TEST_CASE(ranges_move_while_others_read) {
  Bus bus;
  Mover mover(bus), fixed(bus), coming(bus);
  BOOST_REQUIRE((bus.add(0x10000, 0x100, mover).has_value() && bus.add(0x30000, 0x100, fixed).has_value()));
  constexpr int kRounds = 500;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> wrong = 0, answered = 0;
  auto read = [&] {
    std::array<std::byte, 1> data;
    while (!stop) {
      if (!bus.read(0x30042, data) || data[0] != std::byte{0x42}) wrong++;
      for (uint64_t address : {0x10007, 0x20007, 0x40007}) {
        if (!bus.read(address, data)) continue;
        answered++;
        if (data[0] != std::byte{7}) wrong++;
      }
    }
  };
  std::thread readers[2] = {std::thread(read), std::thread(read)};
  std::thread plugger([&] {
    for (int i = 0; i < kRounds; i++) {
      if (!bus.add(0x40000, 0x100, coming) || !bus.remove(0x40000)) wrong++;
    }
  });
  std::array<std::byte, 1> data{};
  for (int i = 0; i < kRounds; i++) {
    if (!bus.write(mover.base, data)) wrong++;
  }
  plugger.join();
  while (answered == 0) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  BOOST_TEST(wrong == 0u);
  BOOST_TEST(mover.base == 0x10000u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
