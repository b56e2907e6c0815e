// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/cpus.h"

#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace nacre;

namespace {

// Four CPUs, of which the first is always there.
struct Cpus {
  Cpus() : path("/tmp/nacre-cpus-XXXXXX") {
    BOOST_REQUIRE(::mkdtemp(path.data()) != nullptr);
    for (int cpu = 0; cpu < 4; cpu++) {
      std::filesystem::create_directory(directory(cpu));
      if (cpu > 0) set(cpu, '0');
    }
  }
  ~Cpus() { std::filesystem::remove_all(path); }

  std::string directory(int cpu) const { return path + "/cpu" + std::to_string(cpu); }
  void set(int cpu, char state) const { std::ofstream(directory(cpu) + "/online") << state << '\n'; }
  std::string online() const {
    std::string states;
    for (int cpu = 1; cpu < 4; cpu++) states += static_cast<char>(std::ifstream(directory(cpu) + "/online").get());
    return states;
  }

  std::string path;
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(cpus_go_on_and_off, Cpus) {
  BOOST_TEST(guest::count_online_cpus(path) == 1u);
  BOOST_TEST(guest::set_online_cpus(path, 3).has_value());
  BOOST_TEST(online() == "110");
  BOOST_TEST(guest::count_online_cpus(path) == 3u);
  BOOST_TEST(guest::set_online_cpus(path, 2).has_value());
  BOOST_TEST(online() == "100");
  set(3, '1');
  set(1, '0');
  BOOST_TEST(guest::set_online_cpus(path, 2).has_value());
  BOOST_TEST(online() == "100");
  BOOST_TEST(guest::set_online_cpus(path, 1).has_value());
  BOOST_TEST(online() == "000");
}

BOOST_FIXTURE_TEST_CASE(more_cpus_than_there_are, Cpus) {
  set(1, '1');
  BOOST_TEST(!guest::set_online_cpus(path, 5).has_value());
  BOOST_TEST(online() == "100");
}

BOOST_FIXTURE_TEST_CASE(cpus_are_counted, Cpus) {
  BOOST_TEST(guest::count_cpus(path) == 4u);
}

BOOST_AUTO_TEST_CASE(the_least_used_cpus_are_chosen) {
  using List = std::vector<unsigned>;
  BOOST_TEST(guest::choose_cpus(2, 4, {}) == (List{0, 1}), boost::test_tools::per_element());
  BOOST_TEST(guest::choose_cpus(2, 4, {{0, 1}}) == (List{2, 3}), boost::test_tools::per_element());
  BOOST_TEST(guest::choose_cpus(3, 4, {{0, 1}}) == (List{0, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(guest::choose_cpus(1, 4, {{0, 1, 2}, {3}, {0, 3}}) == (List{1}), boost::test_tools::per_element());
  BOOST_TEST(guest::choose_cpus(1, 2, {{0, 7}}) == (List{1}), boost::test_tools::per_element());
  BOOST_TEST(guest::choose_cpus(9, 2, {{0}}) == (List{0, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_machine_with_one_cpu) {
  BOOST_TEST(guest::count_cpus("/nonexistent") == 1u);
  BOOST_TEST(guest::count_online_cpus("/nonexistent") == 1u);
  BOOST_TEST(guest::set_online_cpus("/nonexistent", 1).has_value());
  BOOST_TEST(!guest::set_online_cpus("/nonexistent", 2).has_value());
}
