// SPDX-License-Identifier: Apache-2.0
#include "base/user_namespace.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;

BOOST_AUTO_TEST_CASE(a_map_to_itself_has_what_there_is) {
  BOOST_TEST(to_identity("         0          0 4294967295\n") == "0 0 4294967295\n");
  BOOST_TEST(to_identity("0 1777 1\n1 200000 65536\n") == "0 0 1\n1 1 65536\n");
  BOOST_TEST(to_identity("") == "");
}
