// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/sizing.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;
using runtime::kDefaultMemory;
using Json = nlohmann::json;

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr runtime::HostSize kHost = {.memory = 8192 * kMiB + 5, .cpus = 4};

runtime::VmSize size(const char* resources) {
  return runtime::size_for(Json::parse(resources), kHost);
}

uint64_t with_overhead(uint64_t limit) {
  uint64_t wanted = limit + runtime::guest_overhead(limit);
  return (wanted + 2 * kMiB - 1) / (2 * kMiB) * (2 * kMiB);
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_of_the_vm) {
  BOOST_TEST(size("{}").memory == kDefaultMemory);
  BOOST_TEST(size(R"({"memory": {"limit": 0}})").memory == kDefaultMemory);
  BOOST_TEST(size(R"({"memory": {"limit": -1}})").memory == kDefaultMemory);
  BOOST_TEST(size(R"({"memory": {"limit": 1}})").memory == with_overhead(1));
  BOOST_TEST(size(R"({"memory": {"limit": 67108864}})").memory == with_overhead(64 * kMiB));
  BOOST_TEST(size(R"({"memory": {"limit": 1073741825}})").memory == with_overhead(1024 * kMiB + 1));
  BOOST_TEST(size(R"({"unified": {"memory.max": "64M"}, "memory": {"limit": 5}})").memory == with_overhead(64 * kMiB));
  BOOST_TEST(size(R"({"unified": {"memory.max": "max"}})").memory == kDefaultMemory);
  // A VM is never larger than the host, so a limit above that has no effect.
  BOOST_TEST(size(R"({"memory": {"limit": 8589934592}})").memory == 8192 * kMiB);
  BOOST_TEST(size(R"({"memory": {"limit": 9223372036854771712}})").memory == 8192 * kMiB);
  BOOST_TEST(size(R"({"unified": {"memory.max": "99999999999E"}})").memory == 8192 * kMiB);
}

BOOST_AUTO_TEST_CASE(cpus_of_the_vm) {
  BOOST_TEST(size("{}").cpus == 1u);
  BOOST_TEST(size(R"({"cpu": {"quota": 150000}})").cpus == 2u);
  BOOST_TEST(size(R"({"cpu": {"quota": 150000, "period": 10000}})").cpus == 4u);  // as many as the host has
  BOOST_TEST(size(R"({"cpu": {"quota": -1, "period": 100000}})").cpus == 1u);
  BOOST_TEST(size(R"({"cpu": {"quota": 9223372036854775807, "period": 1}})").cpus == 4u);
  BOOST_TEST(size(R"({"unified": {"cpu.max": "200000 100000"}})").cpus == 2u);
  BOOST_TEST(size(R"({"unified": {"cpu.max": "max 100000"}, "cpu": {"quota": 400000}})").cpus == 1u);
  // The number of CPUs in the set counts, not which they are.
  BOOST_TEST(size(R"({"cpu": {"cpus": "2-3"}})").cpus == 2u);
  BOOST_TEST(size(R"({"cpu": {"cpus": "0,2,5-6"}})").cpus == 4u);
  BOOST_TEST(size(R"({"cpu": {"cpus": "0-3", "quota": 50000}})").cpus == 1u);
  BOOST_TEST(size(R"({"cpu": {"cpus": "1", "quota": 400000}})").cpus == 1u);
  BOOST_TEST(size(R"({"cpu": {"cpus": "0-99999999"}})").cpus == 64u);
  for (const char* odd : {"x", "-", "3-1", ",", "0x5", "99999999999999999999"}) {
    BOOST_TEST(runtime::size_for({{"cpu", {{"cpus", odd}}}}, kHost).cpus == 1u);
  }
}

BOOST_AUTO_TEST_CASE(how_far_it_grows) {
  auto largest = runtime::largest_size({.memory = 64 * kMiB, .cpus = 1}, kHost);
  BOOST_TEST(largest.memory == 8192 * kMiB);
  BOOST_TEST(largest.cpus == 4u);
  BOOST_TEST(runtime::largest_size({}, {.memory = 0, .cpus = 99}).cpus == runtime::kMaxGrownCpus);
  BOOST_TEST(runtime::largest_size({}, {.memory = 0, .cpus = 99}).memory == kDefaultMemory);
  BOOST_TEST(runtime::largest_size({.cpus = 32}, kHost).cpus == 32u);
}

BOOST_AUTO_TEST_CASE(the_host_has_a_backstop_where_there_is_a_limit) {
  BOOST_TEST(!runtime::host_backstop(Json::object(), 512 * kMiB).has_value());
  BOOST_TEST(*runtime::host_backstop(Json::parse(R"({"memory": {"limit": 67108864}})"), 106 * kMiB) > 106 * kMiB);
}

BOOST_AUTO_TEST_CASE(an_annotation_does_not_raise_the_backstop) {
  const Json small = Json::parse(R"({"memory": {"limit": 67108864}})");
  const Json large = Json::parse(R"({"memory": {"limit": 1073741824}})");
  auto by_limit = [](const Json& resources) {
    return *runtime::host_backstop(resources, runtime::size_for(resources, kHost).memory);
  };
  BOOST_TEST(*runtime::annotated_backstop(large, by_limit(small), kHost) == by_limit(large));
  BOOST_TEST(*runtime::annotated_backstop(small, by_limit(large), kHost) == by_limit(large));
  BOOST_TEST(!runtime::annotated_backstop(Json::object(), by_limit(large), kHost).has_value());
}
