// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/oom.h"

#include <boost/test/unit_test.hpp>

using namespace nacre::runtime;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_CASE(a_guest_that_reports_kills_for_ever_costs_little) {
  OomPace pace;
  OomPace::Time now{1h};
  auto shown_within = [&](std::chrono::milliseconds time) {
    int shown = 0;
    for (auto end = now + time; now < end; now += 10ms) {
      if (!pace.is_due(now)) continue;
      pace.count(now);
      shown++;
    }
    return shown;
  };
  BOOST_TEST(shown_within(1s) == 10);
  BOOST_TEST(shown_within(9s) == 90);
  BOOST_TEST(shown_within(1h) == 60);
}
