// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/store.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/state/container_id.h"
#include "runtime/state/record_json.h"

using namespace nacre;
using namespace std::chrono_literals;
using runtime::ContainerDir;
using runtime::ProcessId;
using runtime::Record;
using runtime::Status;

namespace {

class Root {
 public:
  Root() {
    char path[] = "/tmp/nacre-root-XXXXXX";
    path_ = std::string(::mkdtemp(path)) + "/a/root";
  }
  ~Root() { std::filesystem::remove_all(std::filesystem::path(path_).parent_path().parent_path()); }
  // NOLINTNEXTLINE(google-explicit-constructor): stands for its path wherever a test names it
  operator const std::string&() const { return path_; }

 private:
  std::string path_;
};

Record make_record(ProcessId standin) {
  return {.oci_version = "1.0.2",
          .id = "one",
          .bundle = "/b\xff",  // a path need not be UTF-8
          .config = "/b/other.json",
          .rootfs = "/b/rootfs",
          .created = "2024-01-02T03:04:05.000000006Z",
          .owner = "root",
          .annotations = {{"k", "v"}},
          .standin = standin,
          .vmm = {.pid = 5, .start_time = 1ull << 60},
          .cgroup = "/sys/fs/cgroup/x",
          .hooks = R"({"poststop":[{"path":"/x"}]})",
          .mappings = R"({"gidMappings":[],"uidMappings":[]})"};
}

boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result root(::geteuid() == 0);
  root.message() << "only root may give files away";
  return root;
}

// Makes a child that waits to be killed.
pid_t make_child() {
  pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  return pid;
}

}  // namespace

BOOST_AUTO_TEST_CASE(ids) {
  for (const char* good : {"a", "0", "A.b-c_d+e", "...", ".a"})
    BOOST_TEST(runtime::check_container_id(good).has_value());
  for (const char* bad : {"", ".", "..", "a/b", "/", "a b", "\xc3\xa4", "a\n", "a:b"}) {
    BOOST_TEST(!runtime::check_container_id(bad));
  }
  BOOST_TEST(!runtime::check_container_id(std::string(256, 'a')));
  BOOST_TEST(!runtime::check_container_id(std::string_view("a\0b", 3)));
}

BOOST_AUTO_TEST_CASE(process_ids_tell_the_dead_from_the_living) {
  auto self = runtime::identify(::getpid());
  BOOST_REQUIRE(self);
  BOOST_TEST(runtime::is_alive(*self));
  BOOST_TEST(
      !runtime::is_alive({.pid = self->pid, .start_time = self->start_time + 1}));  // another process with the same pid
  BOOST_TEST(!runtime::is_alive({}));
  pid_t pid = make_child();
  auto child = runtime::identify(pid);
  BOOST_REQUIRE(child);
  BOOST_TEST(runtime::is_alive(*child));
  BOOST_TEST(!runtime::wait_for_end(*child, 1));
  BOOST_TEST(runtime::kill_and_wait(*child, 5'000).has_value());
  BOOST_TEST(!runtime::is_alive(*child));  // a zombie
  ::waitpid(pid, nullptr, 0);
  BOOST_TEST(!runtime::is_alive(*child));
  BOOST_TEST(runtime::kill_and_wait(*child, 5'000).has_value());
  BOOST_TEST(runtime::wait_for_end(*child, 0));
}

BOOST_AUTO_TEST_CASE(a_process_whose_first_thread_has_ended_is_alive) {
  pid_t pid = ::fork();
  if (pid == 0) {
    std::thread([] {
      for (;;) ::pause();
    }).detach();
    ::syscall(SYS_exit, 0);  // of this thread alone
  }
  auto child = runtime::identify(pid);
  BOOST_REQUIRE(child);
  auto first_has_ended = [&] {
    return read_file("/proc/" + std::to_string(pid) + "/stat").value_or("").contains(") Z ");
  };
  while (!first_has_ended()) ::usleep(1000);
  BOOST_TEST(runtime::is_alive(*child));
  BOOST_TEST(runtime::kill_and_wait(*child, 5'000).has_value());
  BOOST_TEST(!runtime::is_alive(*child));
  ::waitpid(pid, nullptr, 0);
}

BOOST_AUTO_TEST_CASE(a_process_that_shares_its_cpu_is_without_it_at_times) {
  auto spin_on_the_first_cpu = [] {
    pid_t pid = ::fork();
    if (pid != 0) return pid;
    cpu_set_t cpus;
    ::sched_getaffinity(0, sizeof(cpus), &cpus);
    int first = 0;
    while (!CPU_ISSET(first, &cpus)) first++;
    CPU_ZERO(&cpus);
    CPU_SET(first, &cpus);
    ::sched_setaffinity(0, sizeof(cpus), &cpus);
    for (volatile bool spins = true; spins;) {
    }
    ::_exit(0);
  };
  std::array children{spin_on_the_first_cpu(), spin_on_the_first_cpu()};
  auto both_have_waited = [&] {
    return std::ranges::all_of(children, [](pid_t pid) { return runtime::time_without_cpu(pid) >= 50ms; });
  };
  auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!both_have_waited() && std::chrono::steady_clock::now() < deadline) ::usleep(1'000);
  BOOST_TEST(both_have_waited());
  for (pid_t pid : children) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    BOOST_TEST(runtime::time_without_cpu(pid).count() == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_record_comes_back) {
  Root root;
  auto dir = ContainerDir::create(root, "one");
  BOOST_REQUIRE_MESSAGE(dir, dir.error().message());
  BOOST_TEST(!dir->read_record());
  BOOST_TEST(runtime::view_container(root, "one").error().message() == "container does not exist: one");
  Record record = make_record(*runtime::identify(::getpid()));
  BOOST_REQUIRE(dir->write_record(record));
  auto view = runtime::view_container(root, "one");
  BOOST_REQUIRE_MESSAGE(view, view.error().message());
  BOOST_TEST((view->record.standin == record.standin));
  BOOST_TEST((view->record.vmm == record.vmm));
  BOOST_TEST(view->record.rootfs == record.rootfs);
  BOOST_TEST(view->record.cgroup == record.cgroup);
  BOOST_TEST(view->record.hooks == record.hooks);
  BOOST_TEST(view->record.mappings == record.mappings);
  BOOST_TEST((view->record.annotations == record.annotations));
  BOOST_TEST((view->status == Status::created));
  BOOST_REQUIRE(dir->mark_started());
  BOOST_TEST((runtime::view_container(root, "one")->status == Status::running));
  record.standin.start_time++;
  BOOST_REQUIRE(dir->write_record(record));
  BOOST_TEST((runtime::view_container(root, "one")->status == Status::stopped));
  BOOST_TEST(runtime::list_ids(root)->size() == 1u);
  BOOST_TEST(dir->remove().has_value());
  BOOST_TEST(runtime::list_ids(root)->empty());
  BOOST_TEST(ContainerDir::lock(root, "one").error().message() == "container does not exist: one");
}

BOOST_AUTO_TEST_CASE(broken_state_is_an_error) {
  for (const char* text : {"", "{", "[]", "{}", R"({"ociVersion": 1})"}) BOOST_TEST(!runtime::record_from_json(text));
  std::string whole = runtime::record_to_json(make_record({.pid = 77, .start_time = 88}));
  BOOST_REQUIRE(runtime::record_from_json(whole));
  for (const char* number : {"1e300", "7.5", "-1", "4294967297", "\"77\"", "null"}) {
    for (const char* was : {":77,", ":88}"}) {
      std::string text = whole;
      text.replace(text.find(was) + 1, 2, number);
      // A start time may be large.
      if (std::string_view(was) == ":88}" && std::string_view(number) == "4294967297") continue;
      BOOST_TEST(!runtime::record_from_json(text), number);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_to_clear_away_comes_back_whole_or_not_at_all) {
  Root root;
  auto dir = ContainerDir::create(root, "one");
  BOOST_REQUIRE_MESSAGE(dir, dir.error().message());
  runtime::Processes written{.standin = {.pid = 7, .start_time = 1ull << 60}, .vmm = {.pid = 8}, .cgroup = "/c d/e"};
  BOOST_REQUIRE(dir->write_processes(written));
  runtime::Processes read = dir->read_processes();
  BOOST_TEST((read.standin == written.standin && read.vmm == written.vmm && read.cgroup == written.cgroup));
  const std::string& path = root;
  std::filesystem::resize_file(path + "/one/processes", 12);
  read = dir->read_processes();
  BOOST_TEST((read.standin.pid == 0 && read.vmm.pid == 0 && read.cgroup.empty()));
}

BOOST_AUTO_TEST_CASE(an_id_in_use) {
  Root root;
  auto first = ContainerDir::create(root, "one");
  BOOST_REQUIRE(first);
  auto second = ContainerDir::create(root, "one");
  BOOST_REQUIRE(!second);
  BOOST_TEST(second.error().message() == "container with given ID already exists: one");
  BOOST_TEST(!ContainerDir::create("/", "one"));
}

BOOST_AUTO_TEST_CASE(the_state_of_another_user_is_refused, *boost::unit_test::precondition(is_root)) {
  Root root;
  BOOST_REQUIRE(ContainerDir::create(root, "one"));
  const std::string path = static_cast<const std::string&>(root) + "/one";
  BOOST_REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
  auto opened = ContainerDir::lock(root, "one");
  BOOST_REQUIRE(!opened);
  BOOST_TEST(opened.error().message() == path + " belongs to another user (12345)");
  BOOST_REQUIRE(::chown(path.c_str(), 0, 0) == 0);
  BOOST_TEST(ContainerDir::lock(root, "one").has_value());
}

// Eight processes increment a number in a file, each time under the lock.
BOOST_AUTO_TEST_CASE(the_lock_excludes_others) {
  constexpr int kProcesses = 8, kRounds = 20;
  Root root;
  {
    auto dir = ContainerDir::create(root, "one");
    BOOST_REQUIRE(dir);
    std::ofstream(dir->file("count")) << 0;
  }
  for (int i = 0; i < kProcesses; i++) {
    if (::fork() != 0) continue;
    for (int round = 0; round < kRounds; round++) {
      auto dir = ContainerDir::lock(root, "one");
      if (!dir) ::_exit(1);
      int count = 0;
      std::ifstream(dir->file("count")) >> count;
      ::sched_yield();
      std::ofstream(dir->file("count")) << count + 1;
    }
    ::_exit(0);
  }
  for (int i = 0; i < kProcesses; i++) {
    int status = 0;
    ::wait(&status);
    BOOST_TEST(status == 0);
  }
  int count = 0;
  std::ifstream(static_cast<const std::string&>(root) + "/one/count") >> count;
  BOOST_TEST(count == kProcesses * kRounds);
}

BOOST_AUTO_TEST_CASE(who_waited_for_a_deleted_container_is_told) {
  Root root;
  auto dir = ContainerDir::create(root, "one");
  BOOST_REQUIRE(dir);
  pid_t pid = ::fork();
  if (pid == 0) {
    dir->forget_lock();
    auto waited = ContainerDir::lock(root, "one");
    ::_exit(!waited && waited.error().message() == "container does not exist: one" ? 0 : 1);
  }
  ::usleep(50'000);
  BOOST_REQUIRE(dir->remove());
  dir->forget_lock();
  int status = 0;
  ::waitpid(pid, &status, 0);
  BOOST_TEST(status == 0);
}
