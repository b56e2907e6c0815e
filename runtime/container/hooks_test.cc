// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/hooks.h"

#include <boost/test/unit_test.hpp>
#include <climits>

#include <nlohmann/json.hpp>

#include "base/log.h"

using namespace nacre;
using namespace nacre::runtime;
using Json = nlohmann::json;

namespace {

Json shell(const std::string& script) {
  return {{"path", "/bin/sh"}, {"args", {"sh", "-c", script}}};
}

std::string error_of(const std::vector<Json>& list) {
  auto done = run_hooks({{"createRuntime", list}}, "createRuntime", "{}");
  return done ? "" : done.error().message();
}

Record record() {
  Record record;
  record.oci_version = "1.2.0";
  record.id = "one";
  record.bundle = "/bundles/one";
  record.annotations = {{"a", "b"}};
  return record;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hooks)

BOOST_AUTO_TEST_CASE(the_state_that_hooks_get) {
  BOOST_TEST(hook_state(record(), "creating", 7) ==
             R"({"ociVersion":"1.2.0","id":"one","status":"creating","bundle":"/bundles/one","pid":7,)"
             R"("annotations":{"a":"b"}})");
  BOOST_TEST(!Json::parse(hook_state(record(), "stopped", 0)).contains("pid"));
}

BOOST_AUTO_TEST_CASE(the_first_that_fails_is_the_error) {
  BOOST_TEST(error_of({}) == "");
  BOOST_TEST(error_of({shell("exit 0"), shell("true")}) == "");
  BOOST_TEST(error_of({shell("true"), shell("echo out; echo why >&2; exit 3"), shell("exit 4")}) ==
             "error running createRuntime hook #1: exit status 3, stdout: out\n, stderr: why\n");
  BOOST_TEST(error_of({{{"path", "/nonexistent"}}}) ==
             "error running createRuntime hook #0: /nonexistent: no such file or directory");
  Json slow = shell("exec sleep 100");
  slow["timeout"] = 1;
  BOOST_TEST(error_of({slow}) ==
             "error running createRuntime hook #0: ran longer than its timeout of 1 s, stdout: , stderr: ");
}

BOOST_AUTO_TEST_CASE(what_a_hook_is_given) {
  ::setenv("NACRE_TEST_HOOK", "inherited", 1);
  auto run = [](Json hook, const std::string& state) {
    auto done = run_hooks({{"poststop", Json::array({std::move(hook)})}}, "poststop", state);
    return done ? "" : done.error().message();
  };
  Json hook =
      shell("read line; test \"$line\" = '{\"id\":1}' && test \"$0\" = sh && test \"$NACRE_TEST_HOOK\" = inherited");
  BOOST_TEST(run(hook, "{\"id\":1}\n") == "");
  hook = shell("test -z \"$NACRE_TEST_HOOK\" && test \"$A\" = b");
  hook["env"] = {"A=b", "C=d"};
  BOOST_TEST(run(hook, "") == "");
  hook = shell("test -z \"$NACRE_TEST_HOOK\"");
  hook["env"] = Json::array();
  BOOST_TEST(run(hook, "") == "");
  BOOST_TEST(run({{"path", "/bin/true"}}, "") == "");  // without args, the path is the program's name
}

BOOST_AUTO_TEST_CASE(late_hooks_all_run) {
  static std::vector<std::string> lines;
  lines.clear();
  set_log_sink([](LogLevel, std::string_view line) { lines.emplace_back(line); });
  run_late_hooks({{"poststart", {shell("exit 1"), shell("true"), shell("exit 2")}}}, "poststart", "{}");
  set_log_sink(nullptr);
  BOOST_REQUIRE(lines.size() == 2u);
  BOOST_TEST(lines[0] == "error running poststart hook #0: exit status 1, stdout: , stderr: ");
  BOOST_TEST(lines[1] == "error running poststart hook #2: exit status 2, stdout: , stderr: ");
}

BOOST_AUTO_TEST_CASE(starting_may_take_as_long_as_its_hooks) {
  auto timeout = [](const Json& list) { return start_timeout_ms({{"startContainer", list}}); };
  int none = start_timeout_ms(nullptr);
  BOOST_TEST(timeout(Json::array()) == none);
  BOOST_TEST(timeout({{{"timeout", 5}}, {{"timeout", 6}}}) == none + 11'000);
  BOOST_TEST(timeout(Json::array({Json{{"timeout", INT_MAX}}})) == INT_MAX);
  BOOST_TEST(timeout({{{"timeout", 5}}, {{"path", "/x"}}}) == INT_MAX);
  BOOST_TEST(has_hooks({{"prestart", {1}}}, "prestart"));
  BOOST_TEST(!has_hooks({{"prestart", Json::array()}}, "prestart"));
  BOOST_TEST(!has_hooks(nullptr, "prestart"));
}

BOOST_AUTO_TEST_SUITE_END()
