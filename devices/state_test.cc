// SPDX-License-Identifier: Apache-2.0
// The format of saved states: what goes in comes out, and anything else is an error.
#define BOOST_TEST_MODULE state
#include "devices/state.h"

#include <boost/test/unit_test.hpp>

namespace nacre {
namespace {

std::vector<std::byte> sample() {
  StateWriter state;
  state.section("outer", 2, [&] {
    state.u8(1);
    state.u16(0x0203);
    state.u32(0x04050607);
    state.u64(0x08090a0b0c0d0e0f);
    state.boolean(true);
    state.text("name");
    state.count(3);
    for (uint16_t i = 0; i < 3; i++) state.u16(i);
    state.section("inner", 1, [&] { state.bytes({}); });
  });
  return seal_state(state);
}

Result<void> read_sample(StateReader state) {
  StateReader outer = TRY(state.section("outer", 2));
  TRY(state.end());
  if (outer.version() != 2) return fail("version");
  if (TRY(outer.u8()) != 1 || TRY(outer.u16()) != 0x0203 || TRY(outer.u32()) != 0x04050607 ||
      TRY(outer.u64()) != 0x08090a0b0c0d0e0f || !TRY(outer.boolean()) || TRY(outer.text(4)) != "name") {
    return fail("values");
  }
  if (TRY(outer.count(3, 2)) != 3) return fail("count");
  for (uint16_t i = 0; i < 3; i++) {
    if (TRY(outer.u16()) != i) return fail("list");
  }
  StateReader inner = TRY(outer.section("inner", 1));
  if (!TRY(inner.bytes(0)).empty()) return fail("bytes");
  TRY(inner.end());
  return outer.end();
}

Result<void> open_sample(std::span<const std::byte> stored) {
  return read_sample(TRY(open_state(stored)));
}

BOOST_AUTO_TEST_CASE(what_was_written_is_read) {
  auto result = open_sample(sample());
  BOOST_CHECK_MESSAGE(result.has_value(), (result ? "" : result.error().message()));
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  auto stored = sample();
  for (size_t size = 0; size < stored.size(); size++) {
    BOOST_TEST(!open_sample(std::span(stored).first(size)).has_value());
  }
  // Without the checksum's help as well.
  auto content = std::span<const std::byte>(stored).subspan(18);
  BOOST_TEST(read_sample(StateReader(content)).has_value());
  for (size_t size = 0; size < content.size(); size++) {
    BOOST_TEST(!read_sample(StateReader(content.first(size))).has_value());
  }
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_found_by_the_checksum) {
  auto stored = sample();
  for (size_t i = 0; i < stored.size() * 8; i++) {
    auto flipped = stored;
    flipped[i / 8] ^= std::byte{1} << (i % 8);
    BOOST_TEST(!open_sample(flipped).has_value());
  }
}

BOOST_AUTO_TEST_CASE(bytes_that_are_left_over_are_refused) {
  StateWriter state;
  state.section("outer", 1, [&] { state.u32(7); });
  StateReader reader(state.content());
  StateReader outer = reader.section("outer", 1).value();
  BOOST_TEST(outer.u16().has_value());
  BOOST_TEST(!outer.end().has_value());
  BOOST_TEST(outer.u16().has_value());
  BOOST_TEST(outer.end().has_value());
}

BOOST_AUTO_TEST_CASE(claimed_lengths_are_bounded_by_the_reader_and_by_what_is_there) {
  StateWriter state;
  state.u32(0xffffffff);
  BOOST_TEST(!StateReader(state.content()).bytes(SIZE_MAX).has_value());
  BOOST_TEST(!StateReader(state.content()).text(16).has_value());
  BOOST_TEST(!StateReader(state.content()).count(SIZE_MAX).has_value());
  BOOST_TEST(!StateReader(state.content()).count(1).has_value());
  StateWriter list;
  list.count(2);
  list.u64(0);
  BOOST_TEST(StateReader(list.content()).count(2, 4).has_value());
  BOOST_TEST(!StateReader(list.content()).count(2, 5).has_value());
  BOOST_TEST(!StateReader(list.content()).count(1, 4).has_value());
}

BOOST_AUTO_TEST_CASE(a_section_of_another_name_or_of_a_newer_version_is_refused) {
  StateWriter state;
  state.section("device", 3, [] {});
  BOOST_TEST(!StateReader(state.content()).section("devices", 3).has_value());
  BOOST_TEST(!StateReader(state.content()).section("device", 2).has_value());
  BOOST_TEST(StateReader(state.content()).section("device", 3).has_value());
  StateWriter zero;
  zero.section("device", 0, [] {});
  BOOST_TEST(!StateReader(zero.content()).section("device", 3).has_value());
}

BOOST_AUTO_TEST_CASE(a_bool_is_zero_or_one) {
  StateWriter state;
  state.u8(2);
  BOOST_TEST(!StateReader(state.content()).boolean().has_value());
}

}  // namespace
}  // namespace nacre
