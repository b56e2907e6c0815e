// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE oci
#include "oci/json_limits.h"

#include <boost/test/unit_test.hpp>
#include <string>

using namespace nacre;
using namespace nacre::oci;

namespace {

bool passes(const std::string& text, const JsonLimits& limits) {
  return check_json_limits(text, limits).has_value();
}

}  // namespace

BOOST_AUTO_TEST_CASE(arrays_and_objects_nest_up_to_the_limit) {
  const JsonLimits three{.depth = 3};
  BOOST_TEST(passes("[[[]]]", three));
  BOOST_TEST(passes(R"([{"a":[]},{"a":[]}])", three));
  BOOST_TEST(!passes("[[[[]]]]", three));
  BOOST_TEST(!passes(R"({"a":{"a":{"a":{}}}})", three));
  BOOST_TEST(!passes(std::string(16 << 20, '['), three));
}

BOOST_AUTO_TEST_CASE(every_value_counts) {
  BOOST_TEST(passes("[1,2]", {.values = 3}));
  BOOST_TEST(!passes("[1,2,3]", {.values = 3}));
  BOOST_TEST(!passes("[{},{}]", {.values = 3}));
  BOOST_TEST(!passes(R"({"a":0,"b":0,"c":0})", {.values = 3}));
}

BOOST_AUTO_TEST_CASE(what_stands_in_texts_does_not_count) {
  const JsonLimits one{.depth = 1, .values = 2};
  BOOST_TEST(passes(R"(["[[[{,,,,"])", one));
  BOOST_TEST(passes(R"(["\"[[,,\\"])", one));
  BOOST_TEST(!passes(R"(["\\",[]])", one));
}

BOOST_AUTO_TEST_CASE(brackets_that_close_nothing_do_no_harm) {
  BOOST_TEST(passes("]]]]}}[]", {.depth = 1}));
  BOOST_TEST(!passes("]]]]}}[[]]", {.depth = 1}));
}
