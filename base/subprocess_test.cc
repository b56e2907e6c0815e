// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE subprocess
#include "base/subprocess.h"

#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

using namespace nacre;

namespace {

// Runs a shell script whose standard output is the returned text.
std::string output_of(const std::string& script, std::vector<std::pair<int, int>> fds = {},
                      std::optional<std::vector<std::string>> environment = {}, bool new_pid_namespace = false) {
  auto pipe = make_pipe();
  BOOST_REQUIRE(pipe);
  fds.emplace_back(pipe->write.get(), 1);
  auto child = spawn({.path = "/bin/sh",
                      .args = {"sh", "-c", script},
                      .environment = std::move(environment),
                      .fds = std::move(fds),
                      .death_signal = SIGKILL,
                      .new_pid_namespace = new_pid_namespace});
  BOOST_REQUIRE_MESSAGE(child, child.error().message());
  pipe->write.reset();
  auto text = read_fd(pipe->read.get());
  BOOST_REQUIRE(text);
  BOOST_REQUIRE(wait_for(*child));
  return *text;
}

boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result root(::geteuid() == 0);
  root.message() << "only root may make namespaces";
  return root;
}

}  // namespace

BOOST_AUTO_TEST_CASE(gives_status_and_signal) {
  auto child = spawn({.path = "/bin/sh", .args = {"sh", "-c", "exit 7"}, .environment = {}, .fds = {}});
  BOOST_REQUIRE(child);
  auto end = wait_for(*child);
  BOOST_REQUIRE(end);
  BOOST_TEST(end->status == 7);
  BOOST_TEST(end->signal == 0);

  child = spawn({.path = "/bin/sh", .args = {"sh", "-c", "kill -TERM $$"}, .environment = {}, .fds = {}});
  BOOST_REQUIRE(child);
  end = wait_for(*child);
  BOOST_REQUIRE(end);
  BOOST_TEST(end->signal == SIGTERM);
}

BOOST_AUTO_TEST_CASE(error_of_execve_is_the_callers) {
  auto child = spawn({.path = "/nonexistent/program", .args = {"program"}, .environment = {}, .fds = {}});
  BOOST_REQUIRE(!child);
  BOOST_TEST(child.error().code() == ENOENT);
}

BOOST_AUTO_TEST_CASE(child_has_the_named_descriptors_only) {
  auto other = make_pipe();
  BOOST_REQUIRE(other);
  BOOST_REQUIRE(set_cloexec(other->read.get(), false));
  // 0 is ls itself, reading the directory.
  BOOST_TEST(output_of("ls -m /proc/self/fd") == "0, 1\n");
}

BOOST_AUTO_TEST_CASE(descriptors_may_swap_numbers) {
  auto a = make_pipe(), b = make_pipe();
  BOOST_REQUIRE(a && b);
  BOOST_REQUIRE(write_all(a->write.get(), "first\n"));
  BOOST_REQUIRE(write_all(b->write.get(), "second\n"));
  int fa = a->read.get(), fb = b->read.get();
  std::string script = "read x <&" + std::to_string(fa) + "; read y <&" + std::to_string(fb) + "; echo $x $y";
  BOOST_TEST(output_of(script, {{fa, fb}, {fb, fa}}) == "second first\n");
}

BOOST_AUTO_TEST_CASE(mask_and_environment_are_fresh) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  BOOST_TEST(output_of("kill -TERM $$; echo survived").empty());
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  BOOST_TEST(output_of("echo $A", {}, std::vector<std::string>{"A=b"}) == "b\n");
}

BOOST_AUTO_TEST_CASE(a_child_can_be_the_first_of_a_pid_namespace, *boost::unit_test::precondition(is_root)) {
  BOOST_TEST(output_of("echo $$ $PPID", {}, {}, true) == "1 0\n");
  // The next child is in ours again.
  BOOST_TEST(output_of("echo $PPID") == std::to_string(::getpid()) + "\n");
  auto child = spawn({.path = "/nonexistent", .args = {"x"}, .environment = {}, .fds = {}, .new_pid_namespace = true});
  BOOST_REQUIRE(!child);
  BOOST_TEST(child.error().code() == ENOENT);
}
