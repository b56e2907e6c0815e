// SPDX-License-Identifier: Apache-2.0
// Checks which lines of a dying kernel get into the error message, and that a hostile kernel does no harm with them.
#include "vmm/machine/crash_log.h"

#include <boost/test/unit_test.hpp>
#include <string_view>

using nacre::vmm::CrashLog;

namespace {

void print(CrashLog& log, std::string_view text) {
  for (char c : text) log.write(0, std::as_bytes(std::span(&c, 1)));
}

uint8_t read(CrashLog& log, uint64_t offset) {
  std::byte value{0xff};
  log.read(offset, {&value, 1});
  return static_cast<uint8_t>(value);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(crash_log)

// Linux's early_serial8250_write() sends a byte when both bits are set.
BOOST_AUTO_TEST_CASE(the_transmitter_is_always_empty) {
  CrashLog log;
  BOOST_TEST(read(log, 5) == 0x60);
  BOOST_TEST(read(log, 2) == 0);
}

BOOST_AUTO_TEST_CASE(a_panic_is_told_without_its_noise) {
  CrashLog log;
  BOOST_TEST(log.summary() == "");
  print(log,
        "[    0.412345] init[1]: segfault at 10 ip 00000000004012ab sp 00007ffd error 4 in init[401000+1000]\r\n"
        "[    0.412400] Code: 00 00 90\r\n"
        "[    0.412500] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\r\n"
        "[    0.412600] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b ]---\r\n");
  BOOST_TEST(log.summary() ==
             "init[1]: segfault at 10 ip 00000000004012ab sp 00007ffd error 4 in init[401000+1000]; "
             "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b");
}

BOOST_AUTO_TEST_CASE(a_last_line_of_another_kind_is_told_as_it_is) {
  CrashLog log;
  print(log, "[    1.000000] reboot: machine restart\n");
  BOOST_TEST(log.summary() == "reboot: machine restart");
}

BOOST_AUTO_TEST_CASE(a_guest_that_prints_forever_fills_nothing) {
  CrashLog log;
  for (int i = 0; i < 10'000; i++) print(log, "BUG: the same again and again\n");
  print(log, std::string(3 * CrashLog::kLimit, 'x'));
  BOOST_TEST(log.summary().size() == CrashLog::kMaxSummary);
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_text_stay_out_of_the_message) {
  CrashLog log;
  print(log, "BUG: \x1b[2J\xff\x80\t\n");
  BOOST_TEST(log.summary() == "BUG:  [2J?? ");
}

BOOST_AUTO_TEST_CASE(other_registers_and_wide_accesses_do_no_harm) {
  CrashLog log;
  std::byte wide[4] = {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}, std::byte{'d'}};
  log.write(3, wide);
  log.read(5, wide);
  BOOST_TEST(static_cast<int>(wide[1]) == 0);
  BOOST_TEST(log.summary() == "");
}

BOOST_AUTO_TEST_SUITE_END()
