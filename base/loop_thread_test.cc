// SPDX-License-Identifier: Apache-2.0
// Event loops on threads of their own: what the thread does first, and the errors of that.
#include "base/loop_thread.h"

#include <pthread.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>

namespace nacre {
namespace {

std::string thread_name() {
  char name[16] = {};
  ::pthread_getname_np(::pthread_self(), name, sizeof(name));
  return name;
}

BOOST_AUTO_TEST_SUITE(loop_threads)

BOOST_AUTO_TEST_CASE(the_device_prepares_then_comes_the_start_then_the_loop) {
  std::vector<std::string> steps;
  auto start = [&]() -> Result<void> {
    steps.push_back("start");
    return {};
  };
  auto enter = [&](EventLoop& loop) -> Result<void> {
    loop.post([&] { steps.push_back("task"); });
    steps.push_back("enter on " + thread_name());
    return {};
  };
  auto thread = LoopThread::create("device", start, enter).value();
  thread->loop().post_and_wait([] {});
  BOOST_TEST(steps == (std::vector<std::string>{"enter on device", "start", "task"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(without_a_start_no_signal_comes_to_the_thread) {
  auto thread = LoopThread::create("device", {}).value();
  sigset_t blocked;
  thread->loop().post_and_wait([&] { ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked); });
  for (int signal : {SIGTERM, SIGXFSZ, SIGPIPE}) BOOST_TEST(sigismember(&blocked, signal) == 1);
}

BOOST_AUTO_TEST_CASE(an_error_of_either_step_is_that_of_create) {
  auto refused = LoopThread::create("device", [] { return Result<void>(fail("no filter")); });
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message() == "no filter");
  bool started = false;
  auto start = [&]() -> Result<void> {
    started = true;
    return {};
  };
  auto failed = LoopThread::create("device", start, [](EventLoop&) { return Result<void>(fail("no credentials")); });
  BOOST_REQUIRE(!failed.has_value());
  BOOST_TEST(failed.error().message() == "no credentials");
  BOOST_TEST(!started);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
