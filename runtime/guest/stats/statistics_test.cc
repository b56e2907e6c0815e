// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/stats/statistics.h"

#include <boost/test/unit_test.hpp>

#include "runtime/guest/stats/duration.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

Result<nlohmann::ordered_json> from_guest(const Json& reply) {
  return stats::from_guest(TRY(protocol::decode<protocol::StatisticsReply>(reply)));
}

std::string mapped(const Json& files) {
  auto data = from_guest({{"type", "statistics"}, {"files", files}});
  return data ? data->dump() : data.error().message();
}

}  // namespace

BOOST_AUTO_TEST_CASE(statistics_as_runc_maps_them) {
  Json files = {
      {"cpu.stat",
       "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 4\nnr_throttled 2\nthrottled_usec 5\n"},
      {"cpu.pressure",
       "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"},
      {"memory.current", "4096\n"},
      {"memory.max", "1048576\n"},
      {"memory.peak", "8192\n"},
      {"memory.stat", "anon 1024\nfile 2048\n"},
      {"memory.swap.current", "1000\n"},
      {"memory.swap.max", "2000\n"},
      {"pids.current", "3\n"},
      {"pids.max", "max\n"},
      {"io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"},
      {"hugetlb.2MB.current", "2097152\n"},
      {"hugetlb.2MB.events", "max 7\n"},
  };
  BOOST_TEST(
      mapped(files) ==
      R"({"cpu":{"usage":{"total":3000000,"kernel":1000000,"user":2000000},)"
      R"("throttling":{"periods":4,"throttledPeriods":2,"throttledTime":5000},)"
      R"("psi":{"some":{"avg10":1.5,"avg60":0.0,"avg300":0.0,"total":12},"full":{"avg10":0.0,"avg60":0.0,"avg300":0.0,"total":3}}},)"
      R"("cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,)"
      R"("memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},)"
      R"("memory":{"cache":2048,"usage":{"limit":1048576,"usage":4096,"max":8192,"failcnt":0},)"
      R"("swap":{"limit":1050576,"usage":5096,"failcnt":0},"kernel":{"limit":0,"failcnt":0},)"
      R"("kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":1024,"file":2048}},)"
      R"("pids":{"current":3},)"
      R"("blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":1},{"major":8,"op":"Write","value":2}],)"
      R"("ioServicedRecursive":[{"major":8,"op":"Read","value":3},{"major":8,"op":"Write","value":4}]},)"
      R"("hugetlb":{"2MB":{"usage":2097152,"failcnt":7}},"intel_rdt":{},"network_interfaces":null})");
  BOOST_TEST(mapped({{"memory.max", "max\n"}}).find(R"("usage":{"limit":18446744073709551615,"failcnt":0})") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(statistics_of_a_guest_that_lies) {
  BOOST_TEST(!from_guest({{"files", 5}}).has_value());
  BOOST_TEST(!from_guest(Json::object()).has_value());
  std::string nothing = mapped(Json::object());
  BOOST_TEST(nothing.size() < 1000u);
  for (const Json& value :
       {Json(5), Json(), Json("\x1b[2J"), Json("x -1\n\n=\n8:\n: = =\nsome avg10=nan total=-1"), Json({1})}) {
    Json files;
    for (const char* name : {"cpu.stat", "memory.current", "memory.max", "memory.stat", "pids.max", "io.stat"})
      files[name] = value;
    BOOST_TEST(mapped(files) == nothing);
  }
  // Sums and products stop at the largest number.
  std::string most = "18446744073709551615";
  std::string huge =
      mapped({{"cpu.stat", "usage_usec " + most + "\n"}, {"memory.current", most}, {"memory.swap.current", most}});
  BOOST_TEST(huge.find("\"total\":" + most) != std::string::npos);
  BOOST_TEST(huge.find("\"usage\":" + most) != std::string::npos);
  std::string many;
  for (int i = 0; i < 100000; i++) many += "k" + std::to_string(i) + " 1\n";
  BOOST_TEST(mapped({{"memory.stat", many}}).size() < 30000u);
  BOOST_TEST(mapped({{"hugetlb.\x1b.current", "1"}, {"hugetlb..current", "1"}, {"hugetlb.current", "1"}}) == nothing);
}

BOOST_AUTO_TEST_CASE(io_figures_are_bounded) {
  std::string line = "8:0";
  for (int i = 0; i < 5000; i++) line += " rios=1 wbytes=2";
  auto data = from_guest({{"type", "statistics"}, {"files", {{"io.stat", line + "\n" + line}}}});
  BOOST_REQUIRE(data);
  BOOST_TEST((*data)["blkio"]["ioServicedRecursive"].size() == 1024u);
  BOOST_TEST((*data)["blkio"]["ioServiceBytesRecursive"].size() <= 1024u);
}

BOOST_AUTO_TEST_CASE(event_lines) {
  nlohmann::ordered_json data = {{"a", 1}};
  BOOST_TEST(stats::event_line("stats", "x", &data) == "{\"type\":\"stats\",\"id\":\"x\",\"data\":{\"a\":1}}\n");
  BOOST_TEST(stats::event_line("oom", "x", nullptr) == "{\"type\":\"oom\",\"id\":\"x\"}\n");
}

BOOST_AUTO_TEST_CASE(durations) {
  using namespace std::chrono_literals;
  BOOST_TEST((*stats::parse_duration("5s") == 5s));
  BOOST_TEST((*stats::parse_duration("1m30s") == 90s));
  BOOST_TEST((*stats::parse_duration("1.5h") == 90min));
  BOOST_TEST((*stats::parse_duration("200ms") == 200ms));
  BOOST_TEST((*stats::parse_duration("-1s") == -1s));
  BOOST_TEST((*stats::parse_duration("0") == 0s));
  for (const char* bad : {"", "5", "s", "5x", "1s-1s", "nan", "1e400s", "99999999999h", "--1s"}) {
    BOOST_TEST(!stats::parse_duration(bad).has_value());
  }
}
