// SPDX-License-Identifier: Apache-2.0
#include "base/printable.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;

BOOST_AUTO_TEST_CASE(what_a_terminal_would_act_on_is_replaced) {
  BOOST_TEST(printable("plain, \u00e4, \u4e2d, \U0001f41a", '?') == "plain, \u00e4, \u4e2d, \U0001f41a");
  BOOST_TEST(printable("a\nb\x1b[2J\x7f\t", '?') == "a?b?[2J??");
  BOOST_TEST(printable("\u009b2J\u0085", '?') == "?2J?");                  // C1
  BOOST_TEST(printable("x\u202ey\u2066z\u200f\u061c", '?') == "x?y?z??");  // reorder
  BOOST_TEST(printable("\xc3", '?') == "?");
  BOOST_TEST(printable("\xc3\x1b[2J\x9b", ' ') == "  [2J ");
}

BOOST_AUTO_TEST_CASE(what_is_not_utf_8_is_replaced) {
  BOOST_TEST(printable("\xe0\x82\x9b", '?') == "???");                   // U+009B in more bytes than it takes
  BOOST_TEST(printable("\xc1\x81 \xf0\x80\x81\x81", '?') == "?? ????");  // and "A"
  BOOST_TEST(printable("\xf8\x9b\x9b\x9b", '?') == "????");              // no character begins with this byte
  BOOST_TEST(printable("\xf4\x90\x80\x80", '?') == "????");              // beyond the last character
  BOOST_TEST(printable("\xed\xa0\x80", '?') == "???");                   // half of a UTF-16 pair
  BOOST_TEST(printable("\xf4\x8f\xbf\xbd\xed\x9f\xbf", '?') == "\xf4\x8f\xbf\xbd\xed\x9f\xbf");
}
