#include "devices/bus.h"

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>

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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
