// SPDX-License-Identifier: Apache-2.0
#include "base/run_program.h"

#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <chrono>

using namespace nacre;

namespace {

RunOutcome run(const std::string& script, std::string input = "", int timeout_ms = -1) {
  auto outcome = run_program({.path = "/bin/sh",
                              .args = {"named", "-c", script},
                              .environment = std::vector<std::string>{"A=b"},
                              .input = std::move(input),
                              .timeout_ms = timeout_ms});
  BOOST_REQUIRE(outcome);
  return *outcome;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(run_program_)

BOOST_AUTO_TEST_CASE(input_and_output) {
  auto outcome = run("cat; echo $0 $A >&2; exit 3", "given");
  BOOST_TEST(outcome.out == "given");
  BOOST_TEST(outcome.err == "named b\n");
  BOOST_TEST(outcome.exit.status == 3);
  BOOST_TEST(!outcome.succeeded());
  BOOST_TEST(run("kill -TERM $$").exit.signal == SIGTERM);
  BOOST_TEST(run("true").succeeded());
}

BOOST_AUTO_TEST_CASE(much_input_and_output) {
  std::string input(1'000'000, 'x');
  BOOST_TEST(run("wc -c", input).out == "1000000\n");
  BOOST_TEST(run("exec 0<&-; echo done", input).out == "done\n");  // nobody reads it
  auto outcome = run("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 4");
  BOOST_TEST(outcome.out.size() == kMaxRunOutput);
  BOOST_TEST(outcome.err.size() == kMaxRunOutput);
  BOOST_TEST(outcome.exit.status == 4);
}

BOOST_AUTO_TEST_CASE(what_stays_in_the_background_is_not_waited_for) {
  auto start = std::chrono::steady_clock::now();
  BOOST_TEST(run("sleep 20 & echo started").out == "started\n");
  BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds(10)));
}

BOOST_AUTO_TEST_CASE(time_runs_out) {
  auto outcome = run("echo begun; exec sleep 1000", "", 300);
  BOOST_TEST(outcome.timed_out);
  BOOST_TEST(!outcome.succeeded());
  BOOST_TEST(outcome.out == "begun\n");
  BOOST_TEST(run("exec >&- 2>&-; sleep 0.2", "", 30'000).succeeded());  // closed outputs are no reason to spin
}

BOOST_AUTO_TEST_CASE(failures_in_words) {
  RunOptions options{.path = "", .args = {}, .environment = {}, .input = "", .timeout_ms = 2000};
  auto words = [&](const RunOutcome& outcome) {
    auto checked = check_outcome(outcome, options);
    return checked ? "" : checked.error().message();
  };
  BOOST_TEST(words(run("true")) == "");
  BOOST_TEST(words(run("echo no >&2; exit 2")) == "exit status 2, stdout: , stderr: no\n");
  BOOST_TEST(words(run("echo a; kill $$")) == "signal: terminated, stdout: a\n, stderr: ");
  BOOST_TEST(words(run("exec sleep 9", "", 100)) == "ran longer than its timeout of 2 s, stdout: , stderr: ");
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there) {
  auto outcome = run_program({.path = "/nonexistent/program", .args = {"x"}, .environment = {}, .input = ""});
  BOOST_REQUIRE(!outcome);
  BOOST_TEST(outcome.error().code() == ENOENT);
}

BOOST_AUTO_TEST_SUITE_END()
