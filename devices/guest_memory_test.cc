// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE ports
#include "devices/guest_memory.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <string>

namespace nacre {
namespace {

constexpr uint64_t kLow = 0x1000;
constexpr uint64_t kHigh = 0x100000000;

// Two regions with a hole between them, as below and above x86's device window; a third borders on the second.
GuestMemory make_memory() {
  std::vector<GuestMemory::Region> regions;
  regions.push_back({GuestAddress{kLow}, *Mapping::anonymous(0x2000)});
  regions.push_back({GuestAddress{kHigh}, *Mapping::anonymous(0x1000)});
  regions.push_back({GuestAddress{kHigh + 0x1000}, *Mapping::anonymous(0x1000)});
  return GuestMemory(std::move(regions));
}

BOOST_AUTO_TEST_SUITE(guest_memory)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  GuestMemory memory = make_memory();
  BOOST_TEST(memory.store(GuestAddress{kLow + 0x1ffc}, uint32_t{0x12345678}).has_value());
  BOOST_TEST(*memory.load<uint32_t>(GuestAddress{kLow + 0x1ffc}) == 0x12345678u);
  BOOST_TEST(*memory.load<uint16_t>(GuestAddress{kLow + 0x1ffd}) == 0x3456u);  // unaligned copies are fine
  BOOST_TEST(memory.store(GuestAddress{kHigh}, uint8_t{7}).has_value());
  BOOST_TEST(*memory.load<uint8_t>(GuestAddress{kHigh}) == 7u);
}

BOOST_AUTO_TEST_CASE(outside_is_an_error) {
  GuestMemory memory = make_memory();
  std::array<std::byte, 16> buffer{};
  for (uint64_t address : {uint64_t{0}, kLow - 1, kLow + 0x1ff1, kLow + 0x2000, kHigh - 1, kHigh + 0x1ff1,
                           uint64_t{0x7fffffffffffffff}, uint64_t{0xfffffffffffffff0}, UINT64_MAX}) {
    BOOST_TEST(!memory.read(GuestAddress{address}, buffer).has_value());
    BOOST_TEST(!memory.write(GuestAddress{address}, buffer).has_value());
    BOOST_TEST(!memory.slice(GuestAddress{address}, 16).has_value());
  }
  for (uint64_t size : {uint64_t{0x2001}, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - kLow + 1}) {
    BOOST_TEST(!memory.slice(GuestAddress{kLow}, size).has_value());
  }
}

BOOST_AUTO_TEST_CASE(slices_lie_in_one_region) {
  GuestMemory memory = make_memory();
  auto whole = memory.slice(GuestAddress{kLow}, 0x2000);
  BOOST_REQUIRE(whole.has_value());
  BOOST_TEST(whole->iov_base == memory.regions()[0].mapping.data());
  BOOST_TEST(whole->iov_len == 0x2000u);
  BOOST_TEST(memory.slice(GuestAddress{kLow + 5}, 0).has_value());
  BOOST_TEST(!memory.slice(GuestAddress{kHigh + 0xfff}, 2).has_value());
}

BOOST_AUTO_TEST_CASE(ring_indices_are_aligned) {
  GuestMemory memory = make_memory();
  BOOST_TEST(memory.store_release_u16(GuestAddress{kLow + 2}, 0xabcd).has_value());
  BOOST_TEST(*memory.load_acquire_u16(GuestAddress{kLow + 2}) == 0xabcdu);
  BOOST_TEST(!memory.store_release_u16(GuestAddress{kLow + 1}, 1).has_value());
  BOOST_TEST(!memory.load_acquire_u16(GuestAddress{kLow + 1}).has_value());
  BOOST_TEST(!memory.load_acquire_u16(GuestAddress{kLow + 0x2000}).has_value());
  BOOST_TEST(!memory.load_acquire_u16(GuestAddress{UINT64_MAX - 1}).has_value());
}

BOOST_AUTO_TEST_CASE(unplugged_blocks_are_outside) {
  constexpr uint64_t kBlock = 0x1000;
  auto plugged = std::make_shared<PluggedBlocks>(kBlock, 130);
  std::vector<GuestMemory::Region> regions;
  regions.push_back({GuestAddress{kLow}, *Mapping::anonymous(130 * kBlock), plugged});
  GuestMemory memory(std::move(regions));
  auto readable = [&](uint64_t offset, uint64_t size) {
    return memory.slice(GuestAddress{kLow + offset}, size).has_value();
  };
  BOOST_TEST(!readable(0, 1));
  plugged->set(1, 2, true);
  BOOST_TEST(readable(kBlock, 2 * kBlock));
  BOOST_TEST(!readable(kBlock - 1, 2));
  BOOST_TEST(!readable(2 * kBlock, kBlock + 1));
  BOOST_TEST(!memory.store(GuestAddress{kLow}, uint64_t{1}).has_value());
  BOOST_TEST(memory.store(GuestAddress{kLow + kBlock}, uint64_t{1}).has_value());
  // Over the borders of the words that hold the bits.
  plugged->set(60, 70, true);
  BOOST_TEST(readable(60 * kBlock, 70 * kBlock));
  plugged->set(128, 1, false);
  BOOST_TEST(!readable(60 * kBlock, 70 * kBlock));
  BOOST_TEST(readable(60 * kBlock, 68 * kBlock));
  BOOST_TEST(readable(129 * kBlock, kBlock));
  BOOST_TEST(!readable(129 * kBlock, kBlock + 1));
  BOOST_TEST(plugged->count(0, 130) == 71u);
  BOOST_TEST(plugged->count(128, 2) == 1u);
}

// Keeps what it is told as text, "+1000" for a plugged range and "-1000" for an unplugged one.
struct Recorder final : GuestMemoryListener {
  Result<void> plugged(const Range& range) override {
    if (refused == range.start) return fail("refused", ENOMEM);
    told.push_back("+" + std::to_string(range.start.value));
    last = range;
    return {};
  }
  void unplugged(const Range& range) override { told.push_back("-" + std::to_string(range.start.value)); }

  std::optional<GuestAddress> refused;
  std::vector<std::string> told;
  Range last;
};

using Told = std::vector<std::string>;

// RAM at 4096 and room for more, in blocks of a page, at 8192.
GuestMemory make_growing_memory() {
  std::vector<GuestMemory::Region> regions;
  regions.push_back({GuestAddress{0x1000}, *Mapping::anonymous(0x1000)});
  regions.push_back({GuestAddress{0x2000}, *Mapping::anonymous(0x4000), std::make_shared<PluggedBlocks>(0x1000, 4)});
  return GuestMemory(std::move(regions));
}

BOOST_AUTO_TEST_CASE(listeners_hear_what_is_there_what_comes_and_what_goes) {
  GuestMemory memory = make_growing_memory();
  Recorder first, second;
  BOOST_TEST(memory.add_listener(first).has_value());
  BOOST_TEST(memory.plug(GuestAddress{0x3000}, 0x2000).has_value());
  BOOST_TEST((first.last.host.data() == memory.regions()[1].mapping.data() + 0x1000));
  BOOST_TEST(first.last.host.size() == 0x2000u);
  BOOST_TEST(first.last.file == -1);
  BOOST_TEST(memory.add_listener(second).has_value());
  BOOST_TEST(second.told == (Told{"+4096", "+12288"}), boost::test_tools::per_element());
  memory.unplug(GuestAddress{0x3000}, 0x2000);
  memory.unplug(GuestAddress{0x3000}, 0x2000);  // no longer there
  BOOST_TEST(first.told == (Told{"+4096", "+12288", "-12288"}), boost::test_tools::per_element());
  memory.remove_listener(first);
  BOOST_TEST(first.told == (Told{"+4096", "+12288", "-12288", "-4096"}), boost::test_tools::per_element());
  BOOST_TEST(memory.plug(GuestAddress{0x2000}, 0x1000).has_value());
  BOOST_TEST(first.told.size() == 4u);
  BOOST_TEST(second.told.back() == "+8192");
}

BOOST_AUTO_TEST_CASE(memory_that_one_listener_refuses_comes_to_none) {
  GuestMemory memory = make_growing_memory();
  Recorder first, second, third;
  second.refused = GuestAddress{0x2000};
  for (Recorder* listener : {&first, &second, &third}) BOOST_TEST(memory.add_listener(*listener).has_value());
  BOOST_TEST(!memory.plug(GuestAddress{0x2000}, 0x1000).has_value());
  BOOST_TEST(first.told == (Told{"+4096", "+8192", "-8192"}), boost::test_tools::per_element());
  BOOST_TEST(third.told == Told{"+4096"}, boost::test_tools::per_element());
  Recorder late;
  late.refused = GuestAddress{0x3000};
  BOOST_TEST(memory.plug(GuestAddress{0x3000}, 0x1000).has_value());
  BOOST_TEST(!memory.add_listener(late).has_value());
  BOOST_TEST(late.told == (Told{"+4096", "-4096"}), boost::test_tools::per_element());
  memory.unplug(GuestAddress{0x3000}, 0x1000);
  BOOST_TEST(late.told.size() == 2u);
  BOOST_TEST(!memory.plug(GuestAddress{0x5000}, 0x2000).has_value());  // past the region's end
  BOOST_TEST(!memory.plug(GuestAddress{0}, 0x1000).has_value());
}

BOOST_AUTO_TEST_CASE(no_memory_at_all) {
  GuestMemory memory({});
  BOOST_TEST(!memory.load<uint8_t>(GuestAddress{0}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
