// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/resource_changes.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;
using Json = nlohmann::json;

namespace {

std::string error_of(const oci::ResourceFlags& flags) {
  auto changes = oci::from_flags(flags);
  return changes ? "" : changes.error().message();
}

Json checked(const char* resources, size_t warnings_wanted = 0) {
  std::vector<std::string> warnings;
  auto changes = oci::check_changes(Json::parse(resources), warnings);
  BOOST_REQUIRE(changes);
  BOOST_TEST(warnings.size() == warnings_wanted);
  return *changes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_sizes) {
  BOOST_TEST(*oci::parse_memory("4096") == 4096);
  BOOST_TEST(*oci::parse_memory("32m") == 32 << 20);
  BOOST_TEST(*oci::parse_memory("1.5GiB") == 3 << 29);
  BOOST_TEST(*oci::parse_memory("2 KB") == 2048);
  BOOST_TEST(*oci::parse_memory("0") == 0);
  for (const char* bad : {"", "m", "-5", "1x", "1mm", "1ii", "9999999999999g", "nan", "1 2"}) {
    BOOST_TEST(!oci::parse_memory(bad).has_value());
  }
}

BOOST_AUTO_TEST_CASE(flags_become_resources) {
  oci::ResourceFlags flags;
  flags.memory = "64m";
  flags.memory_swap = "-1";
  flags.cpu_quota = "-1";
  flags.cpu_share = "512";
  flags.cpuset_cpus = "0-1";
  flags.pids_limit = "20";
  flags.cpu_idle = "0";
  BOOST_TEST(*oci::from_flags(flags) ==
             Json::parse(R"({"memory": {"limit": 67108864, "swap": -1}, "pids": {"limit": 20},
                             "cpu": {"quota": -1, "shares": 512, "cpus": "0-1", "idle": 0}})"));
  BOOST_TEST(error_of({.cpu_period = "x"}) == "invalid value for cpu-period: \"x\" is not a number in range");
  BOOST_TEST(error_of({.cpu_share = "-1"}) == "invalid value for cpu-share: \"-1\" is not a number in range");
  BOOST_TEST(error_of({.memory = "much"}) == "invalid value for memory: invalid size: 'much'");
}

BOOST_AUTO_TEST_CASE(zero_and_nothing_change_nothing) {
  BOOST_TEST(checked(R"({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "cpus": "", "period": 0},
                         "pids": {"limit": 0}, "devices": [{"allow": false}], "blockIO": {"weight": 0}})") ==
             Json::object());
  BOOST_TEST(checked(R"({"cpu": {"idle": 0, "burst": 0}})") == Json::parse(R"({"cpu": {"idle": 0, "burst": 0}})"));
  BOOST_TEST(checked(R"({"memory": {"limit": -1}})") == Json::parse(R"({"memory": {"limit": -1, "swap": -1}})"));
  BOOST_TEST(checked(R"({"memory": {"kernel": 5}, "blockIO": {"weight": 10}})", 1) ==
             Json::parse(R"({"blockIO": {"weight": 10}})"));
  std::vector<std::string> warnings;
  for (const char* bad : {R"([])", R"({"memory": 5})", R"({"memory": {"limit": "x"}})", R"({"pids": {"limit": 1.5}})",
                          R"({"unified": {"a.b": 5}})"}) {
    BOOST_TEST(!oci::check_changes(Json::parse(bad), warnings).has_value());
  }
}

BOOST_AUTO_TEST_CASE(updates_add_up) {
  Json kept = Json::parse(R"({"memory": {"limit": 100, "swap": 150}, "cpu": {"quota": 5, "period": 10, "shares": 3},
                              "unified": {"a.b": "1"}})");
  auto merged = oci::merge(kept, Json::parse(R"({"cpu": {"quota": 7}, "unified": {"c.d": "2"}})"));
  BOOST_TEST(merged.apply == Json::parse(R"({"cpu": {"quota": 7, "period": 10}, "unified": {"c.d": "2"}})"));
  BOOST_TEST(merged.keep == Json::parse(R"({"memory": {"limit": 100, "swap": 150}, "cpu": {"quota": 7, "period": 10,
                                            "shares": 3}, "unified": {"a.b": "1", "c.d": "2"}})"));
  // The swap of its own stays 50.
  merged = oci::merge(kept, Json::parse(R"({"memory": {"limit": 200, "checkBeforeUpdate": true}})"));
  BOOST_TEST(merged.apply == Json::parse(R"({"memory": {"limit": 200, "checkBeforeUpdate": true}})"));
  BOOST_TEST(merged.keep["memory"] == Json::parse(R"({"limit": 200, "swap": 250})"));
  merged = oci::merge(kept, Json::parse(R"({"memory": {"swap": 300}})"));
  BOOST_TEST(merged.apply == Json::parse(R"({"memory": {"limit": 100, "swap": 300}})"));
  BOOST_TEST(oci::merge(Json::object(), Json::object()).apply == Json::object());
}
