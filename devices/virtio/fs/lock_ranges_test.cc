// SPDX-License-Identifier: Apache-2.0
// Compares the byte ranges of locks with a model that keeps the lock of each byte.
#include "devices/virtio/fs/lock_ranges.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <random>

namespace nacre::virtio::fs {
namespace {

BOOST_AUTO_TEST_SUITE(lock_ranges)

BOOST_AUTO_TEST_CASE(neighbours_of_one_kind_become_one_range) {
  LockRanges ranges;
  for (uint64_t byte : {4u, 2u, 3u, 1u}) ranges.set(byte, byte, F_WRLCK);
  BOOST_TEST(ranges.size() == 1u);
  ranges.set(5, INT64_MAX, F_RDLCK);
  BOOST_TEST(ranges.size() == 2u);
  ranges.set(0, UINT64_MAX, F_UNLCK);
  BOOST_TEST(ranges.empty());
}

BOOST_AUTO_TEST_CASE(random_locks_leave_what_a_model_has) {
  constexpr uint64_t kBytes = 24;
  std::mt19937 random(1);
  LockRanges ranges;
  std::array<short, kBytes> model;
  model.fill(F_UNLCK);
  for (int round = 0; round < 20000; round++) {
    uint64_t start = random() % kBytes;
    uint64_t end = start + random() % (kBytes - start);
    short type = std::array<short, 3>{F_RDLCK, F_WRLCK, F_UNLCK}[random() % 3];
    ranges.set(start, end, type);
    for (uint64_t i = start; i <= end; i++) model[i] = type;
    std::array<short, kBytes> seen;
    seen.fill(F_UNLCK);
    uint64_t next = 0;
    short last = F_UNLCK;
    for (const auto& [first, range] : ranges) {
      BOOST_REQUIRE((first >= next && first <= range.end && range.end < kBytes));
      BOOST_REQUIRE((first > next || next == 0 || range.type != last));  // otherwise they would be one range
      for (uint64_t i = first; i <= range.end; i++) seen[i] = range.type;
      next = range.end + 1;
      last = range.type;
    }
    BOOST_REQUIRE((seen == model));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs
