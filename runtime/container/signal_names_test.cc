// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/signal_names.h"

#include <signal.h>

#include <boost/test/unit_test.hpp>

using nacre::runtime::parse_signal;

BOOST_AUTO_TEST_CASE(signals_by_name_and_number) {
  BOOST_TEST(parse_signal("KILL").value() == SIGKILL);
  BOOST_TEST(parse_signal("SIGKILL").value() == SIGKILL);
  BOOST_TEST(parse_signal("sigterm").value() == SIGTERM);
  BOOST_TEST(parse_signal("WINCH").value() == SIGWINCH);
  BOOST_TEST(parse_signal("9").value() == 9);
  BOOST_TEST(parse_signal("64").value() == 64);
  BOOST_TEST(parse_signal("0").value() == 0);
  for (const char* bad : {"", "65", "-1", "9x", "SIG", "KILLER", "99999999999"}) BOOST_TEST(!parse_signal(bad));
  BOOST_TEST(parse_signal("FOO").error().message() == "unknown signal \"FOO\"");
}
