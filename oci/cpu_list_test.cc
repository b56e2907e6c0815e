// SPDX-License-Identifier: Apache-2.0
#include "oci/cpu_list.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;

BOOST_AUTO_TEST_SUITE(cpu_lists)

BOOST_AUTO_TEST_CASE(cpus_are_counted) {
  BOOST_TEST(oci::count_cpus("", 64) == 0u);
  BOOST_TEST(oci::count_cpus("3", 64) == 1u);
  BOOST_TEST(oci::count_cpus("0-3,7", 64) == 5u);
  BOOST_TEST(oci::count_cpus("0-3,7", 4) == 4u);
  BOOST_TEST(oci::count_cpus("0-18446744073709551615", 64) == 64u);
  BOOST_TEST(oci::count_cpus("3-1", 64) == 0u);
  BOOST_TEST(oci::count_cpus("x,,1", 64) == 1u);
}

BOOST_AUTO_TEST_CASE(neighbours_become_a_range) {
  BOOST_TEST(oci::cpu_list({}) == "");
  BOOST_TEST(oci::cpu_list({0}) == "0");
  BOOST_TEST(oci::cpu_list({0, 1, 2, 5, 7, 8}) == "0-2,5,7-8");
}

BOOST_AUTO_TEST_SUITE_END()
