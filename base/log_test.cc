// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace nacre {
namespace {

// The sink is the program's: give it back.
struct Captured {
  Captured() {
    set_log_sink([this](LogLevel level, std::string_view line) {
      count++;
      if (level >= LogLevel::warn) warnings++;
      last = line;
    });
  }
  ~Captured() { set_log_sink({}); }
  int count = 0, warnings = 0;
  std::string last;
};

BOOST_AUTO_TEST_SUITE(logging)

BOOST_AUTO_TEST_CASE(sink_gets_every_level) {
  Captured captured;
  log_debug("d");
  log_info("i");
  log_warn("w");
  log_error("e");
  BOOST_TEST(captured.count == 4);
  BOOST_TEST(captured.warnings == 2);
  BOOST_TEST(captured.last == "e");
}

BOOST_AUTO_TEST_CASE(control_characters_become_spaces) {
  BOOST_TEST(one_line("a\nb\x1b[31m\x7f\tc\xc3\xa4") == "a b [31m  c\xc3\xa4");
}

BOOST_AUTO_TEST_CASE(limiter_stops_a_flood) {
  Captured captured;
  LogLimiter limiter(3);
  for (int i = 0; i < 100000; i++) limiter.warn("guest misbehaves");
  // A window may end while the loop runs, never twice.
  BOOST_TEST(captured.count >= 3);
  BOOST_TEST(captured.count <= 7);
}

BOOST_AUTO_TEST_CASE(limiter_from_many_threads) {
  std::atomic<int> lines = 0;
  set_log_sink([&](LogLevel, std::string_view) { lines++; });
  LogLimiter limiter(5);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; i++) limiter.warn("again");
    });
  }
  for (auto& thread : threads) thread.join();
  set_log_sink({});
  BOOST_TEST(lines >= 5);
  BOOST_TEST(lines <= 11);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(result)

Result<int> half(int value) {
  if (value % 2 != 0) return fail("odd", EINVAL);
  return value / 2;
}

Result<int> quarter(int value) {
  int once = TRY(half(value));
  return TRY_CONTEXT(half(once), "second time");
}

BOOST_AUTO_TEST_CASE(errors_travel_with_their_context) {
  BOOST_TEST(quarter(12).value() == 3);
  BOOST_TEST(quarter(3).error().message() == "odd");
  BOOST_TEST(quarter(6).error().message() == "second time: odd");
  BOOST_TEST(quarter(6).error().code() == EINVAL);
  errno = EACCES;
  Result<> failed = fail_errno("open x");
  BOOST_TEST(failed.error().message() == "open x: permission denied");
  BOOST_TEST(failed.error().code() == EACCES);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
