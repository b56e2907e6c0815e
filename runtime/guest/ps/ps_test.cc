// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "runtime/guest/ps/arguments.h"
#include "runtime/guest/ps/process.h"
#include "runtime/guest/ps/table.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// Returns a line of /proc/PID/stat with fields 1 to 39.
std::string stat(int pid, const std::string& name, const std::string& state_to_tpgid = "S 1 7 7 34816 7") {
  return std::to_string(pid) + " (" + name + ") " + state_to_tpgid +
         " 4194560 100 0 0 0 6150 50 0 0 20 0 2 0 12000 4202496 256 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 "
         "0 "
         "0\n";
}

Json process(const std::string& stat, const std::string& args = "") {
  return {{"stat", stat}, {"uid", {0, 0}}, {"gid", {0, 0}}, {"args", args}};
}

Json reply(std::vector<Json> processes) {
  return {{"type", "processes"}, {"hertz", 100},        {"page", 4096},
          {"uptime", 3'720'000}, {"memory", 100 << 20}, {"processes", std::move(processes)}};
}

Result<ps::Listing> parse_listing(const Json& reply) {
  return ps::parse_listing(TRY(protocol::decode<protocol::ProcessesReply>(reply)));
}

std::string table(const Json& reply, const std::vector<std::string>& arguments) {
  ::setenv("TZ", "UTC", 1);
  auto listing = parse_listing(reply);
  BOOST_REQUIRE(listing);
  listing->now = 1'700'000'000;  // 22:13:20; the guest was booted at 21:11:20
  auto columns = ps::parse_arguments(arguments);
  BOOST_REQUIRE(columns);
  return ps::to_table(*columns, *listing);
}

std::string error_of(const std::vector<std::string>& arguments) {
  auto columns = ps::parse_arguments(arguments);
  return columns ? "" : columns.error().message();
}

}  // namespace

BOOST_AUTO_TEST_CASE(ps_shows_what_ps_shows) {
  Json two = reply({process(stat(40, "sleep"), "sleep 1000"), process(stat(7, "sh", "R 1 7 7 0 -1"), "sh -c x y")});
  std::string full =
      "UID          PID    PPID  C STIME TTY          TIME CMD\n"
      "root           7       1  1 21:13 ?        00:01:02 sh -c x y\n"
      "root          40       1  1 21:13 pts/0    00:01:02 sleep 1000\n";
  BOOST_TEST(table(two, {}) == full);
  BOOST_TEST(table(two, {"-ef"}) == full);
  BOOST_TEST(table(two, {"-e", "-f"}) == full);
  BOOST_TEST(table(two, {"aux"}) ==
             "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
             "root           7  1.7  1.0   4104  1024 ?        Rsl  21:13   1:02 sh -c x y\n"
             "root          40  1.7  1.0   4104  1024 pts/0    Sl+  21:13   1:02 sleep 1000\n");
  BOOST_TEST(table(two, {"-e"}) ==
             "    PID TTY          TIME CMD\n"
             "      7 ?        00:01:02 sh\n"
             "     40 pts/0    00:01:02 sleep\n");
  BOOST_TEST(table(two, {"-o", "pid,ppid,etime", "-o", "comm=NAME"}) ==
             "    PID    PPID     ELAPSED NAME\n"
             "      7       1    01:00:00 sh\n"
             "     40       1    01:00:00 sleep\n");
  BOOST_TEST(table(two, {"-eopid"}) == "    PID\n      7\n     40\n");
  BOOST_TEST(table(reply({}), {"axo", "pid args"}) == "    PID COMMAND\n");
}

BOOST_AUTO_TEST_CASE(ps_arguments_that_are_not_known) {
  BOOST_TEST(error_of({"-o", "pid,wchan"}) == "unknown user-defined format specifier \"wchan\"");
  BOOST_TEST(error_of({"-o", "comm"}) == "couldn't find PID field in ps output");
  BOOST_TEST(error_of({"-o", "pid=X"}) == "couldn't find PID field in ps output");
  BOOST_TEST(error_of({"-o"}) == "list of columns must follow o");
  BOOST_TEST(error_of({"-o", "=x"}) == "improper format list");
  BOOST_TEST(error_of({"--forest"}).starts_with("ps argument \"--forest\" is not supported"));
  BOOST_TEST(error_of({"-"}).starts_with("ps argument"));
  BOOST_TEST(error_of({""}).starts_with("ps argument"));
}

BOOST_AUTO_TEST_CASE(ps_of_a_guest_that_lies) {
  // A name and arguments that would move a terminal's cursor or break the line.
  Json odd = reply({process(stat(2, "a) R\n\x1b[2J\u009b("), "x\ny \u202e\xc3\xa4")});
  BOOST_TEST(table(odd, {"-o", "pid,comm", "-o", "args"}) ==
             "    PID COMMAND         COMMAND\n      2 a) R??[2J?(     x?y ?\u00e4\n");
  Json good = reply({process(stat(2, "a"))});
  for (const char* field : {"hertz", "page", "uptime", "memory", "processes"}) {
    for (const Json& value : {Json(), Json("x"), Json(-1), Json(1e300), Json(UINT64_MAX), Json::object()}) {
      Json bad = good;
      bad[field] = value;
      BOOST_TEST(!parse_listing(bad).has_value());
    }
  }
  for (const char* text : {"", "2", "2 (a", "2 (a)", "2 (a) S", "x (a) S 1", "-2 (a) S 1 2 3", "2 (a) S 1 2 3 x"}) {
    BOOST_TEST(!parse_listing(reply({process(text)})).has_value());
  }
  for (const Json& bad : {Json(5), Json::object(), Json{{"stat", 5}}}) {
    BOOST_TEST(!parse_listing(reply({bad})).has_value());
  }
  Json ids = process(stat(2, "a"));
  for (const Json& value : {Json(), Json(5), Json({1}), Json({1, -1}), Json({1, 1ull << 32}), Json({"a", "b"})}) {
    ids["uid"] = value;
    BOOST_TEST(!parse_listing(reply({ids})).has_value());
  }
  // The largest figures overflow nothing.
  std::string huge = "2147483647 (a) Z";
  for (int i = 4; i < 52; i++) huge += " 9223372036854775807";
  for (const std::string& numbers : {huge, "1 (a) Z" + std::string(100, ' ') + [] {
                                       std::string low;
                                       for (int i = 4; i < 52; i++) low += " -9223372036854775808";
                                       return low;
                                     }()}) {
    Json extreme = reply({process(numbers)});
    extreme["hertz"] = 1;
    extreme["page"] = 1 << 16;
    for (const char* kind : {"-ef", "aux", "ax"}) BOOST_TEST(!table(extreme, {kind}).empty());
    BOOST_TEST(!table(extreme, {"-o", "pid,etime,etimes,lstart,start,pcpu,pmem,sz,pri,tty,rss,vsz,c"}).empty());
  }
}
