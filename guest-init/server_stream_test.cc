// SPDX-License-Identifier: Apache-2.0
// Streams, terminals and passed descriptors, of first processes and of exec.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <thread>
#include <utility>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

BOOST_FIXTURE_TEST_SUITE(server, Fixture)

BOOST_AUTO_TEST_CASE(a_process_with_a_terminal) {
  Json config = machine.config(shell("tty; stty size; read line; stty size; echo got $line; test -c /dev/console"));
  config["process"]["terminal"] = true;
  config["process"]["consoleSize"] = {{"height", 31}, {"width", 101}};
  Json created = client.create("terminal", config);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  BOOST_TEST(!created["streams"].contains("stderr"));
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("terminal")["type"] == "ok");
  Json resize{{"type", "resize"}, {"container", "terminal"}, {"rows", 50}, {"columns", 132}};
  std::string text = read_until(out.get(), "101\r\n");
  BOOST_TEST(client.ask(resize)["type"] == "ok");
  BOOST_TEST(write_all(in.get(), "word\n").has_value());
  text += read_to_end(out.get());
  BOOST_TEST(text == "/dev/pts/0\r\n31 101\r\nword\r\n50 132\r\ngot word\r\n");
  BOOST_TEST(client.event()["status"] == 0);
}

BOOST_AUTO_TEST_CASE(a_terminal_hangs_up_with_the_host) {
  // Unlike a program in the foreground, a trap does not wait for `wait` to end.
  Json config = machine.config(shell("trap 'exit 3' HUP; sleep 1000 & echo ready; wait"));
  config["process"]["terminal"] = true;
  Json created = client.create("hangup", config);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("hangup")["type"] == "ok");
  // Only then is the trap set: a signal without one would not be for a PID 1.
  BOOST_TEST(read_until(out.get(), "ready").starts_with("ready"));
  in.reset();
  Json exited = client.event();
  BOOST_TEST((exited["status"] == 3 || exited["signal"] == SIGHUP), exited);
}

BOOST_AUTO_TEST_CASE(much_data_passes_unchanged_and_the_end_of_input_ends_it) {
  Json created = client.create("cat", machine.config({"cat"}), true);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("cat")["type"] == "ok");
  std::string data(64 << 20, '\0');
  uint32_t random = 1;
  for (char& c : data) c = static_cast<char>((random = random * 1664525 + 1013904223) >> 24);
  bool written = false;
  std::thread writer([&] {
    written = write_all(in.get(), data).has_value();
    ::shutdown(in.get(), SHUT_WR);
  });
  std::string back = read_to_end(out.get());
  writer.join();
  BOOST_TEST(written);
  BOOST_TEST((back == data));
  Json exited = client.event();
  BOOST_TEST(exited["status"] == 0);
  BOOST_TEST(exited["sent"]["stdout"] == data.size());
}

BOOST_AUTO_TEST_CASE(the_exit_waits_for_output_that_is_not_taken_yet) {
  Json created = client.create("full", machine.config(shell("dd if=/dev/zero bs=1k count=600 2>/dev/null")));
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("full");
  ::usleep(300'000);
  BOOST_TEST(read_to_end(out.get()).size() == 600u << 10);
  BOOST_TEST(client.event()["sent"]["stdout"] == 600 << 10);
}

BOOST_AUTO_TEST_CASE(a_reader_that_goes_breaks_the_pipe) {
  Json created = client.create("pipe", machine.config(shell("exec 2>/dev/null; while echo line; do :; done; exit 3")));
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("pipe");
  char byte;
  BOOST_TEST(::read(out.get(), &byte, 1) == 1);
  out.reset();
  Json exited = client.event();
  BOOST_TEST((exited["signal"] == SIGPIPE || exited["status"] == 3));
}

BOOST_AUTO_TEST_CASE(ten_execs_at_once) {
  client.create("base", machine.config({"sleep", "1000"}), false, false);
  // Also before the container is started, as under runc.
  Json early = client.exec("base", "early", machine.process({"echo", "early"}));
  Fd early_out = machine.connect(early["streams"]["stdout"]);
  client.ask({{"type", "release"}, {"container", "base"}, {"exec", "early"}});
  BOOST_TEST(read_to_end(early_out.get()) == "early\n");
  BOOST_TEST(client.event()["exec"] == "early");
  client.start("base");
  // The threads only collect: Boost.Test's checks are for one thread.
  struct Seen {
    Json created, released, exited;
    std::string out;
  };
  std::vector<Seen> seen(10);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < seen.size(); i++) {
    threads.emplace_back([&, i] {
      Client own(machine);
      std::string name = "e" + std::to_string(i);
      Seen& mine = seen[i];
      mine.created =
          own.exec("base", name, machine.process(shell("hostname; ps | grep -c sleep; exit " + std::to_string(i))));
      if (mine.created["type"] != "created") return;
      Fd out = machine.connect(mine.created["streams"]["stdout"]);
      mine.released = own.ask({{"type", "release"}, {"container", "base"}, {"exec", name}});
      if (mine.released["type"] != "ok") return;
      mine.out = read_to_end(out.get());
      mine.exited = own.event();
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < seen.size(); i++) {
    BOOST_TEST(seen[i].created["type"] == "created", seen[i].created.dump());
    BOOST_TEST(seen[i].released["type"] == "ok", seen[i].released.dump());
    BOOST_TEST(seen[i].out.starts_with("inside\n"));
    BOOST_TEST(seen[i].exited["exec"] == "e" + std::to_string(i));
    BOOST_TEST(seen[i].exited["status"] == i);
  }
  Json missing = client.exec("base", "x", machine.process({"nothing"}));
  BOOST_TEST(missing["message"] == "exec: \"nothing\": executable file not found in $PATH");
  BOOST_TEST(missing["code"] == ENOENT);
  BOOST_TEST(client.ask({{"type", "delete"}, {"container", "base"}})["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGKILL);
  BOOST_TEST(!machine.has_cgroup("base"));
}

BOOST_AUTO_TEST_CASE(an_exec_may_leave_a_process_that_writes_on) {
  client.create("base", machine.config({"sleep", "1000"}), false, false);
  client.start("base");
  Json created = client.exec("base", "left", machine.process(shell("echo now; (sleep 0.3; echo later) &")));
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.ask({{"type", "release"}, {"container", "base"}, {"exec", "left"}});
  BOOST_TEST(client.event()["sent"]["stdout"] == 4);
  BOOST_TEST(read_to_end(out.get()) == "now\nlater\n");
}

BOOST_AUTO_TEST_CASE(an_exec_ends_though_its_input_was_not_read) {
  client.create("base", machine.config({"sleep", "1000"}), false, false);
  client.start("base");
  Json created = client.ask({{"type", "exec"},
                             {"container", "base"},
                             {"exec", "unread"},
                             {"process", machine.process(shell("exec 3<&0; sleep 1000 <&3 & sleep 1; exit 4"))},
                             {"stdin", true},
                             {"stdout", false},
                             {"stderr", false}});
  Fd in = machine.connect(created["streams"]["stdin"]);
  client.ask({{"type", "release"}, {"container", "base"}, {"exec", "unread"}});
  // Until nobody takes more.
  std::string much(1 << 20, 'x');
  pollfd room{.fd = in.get(), .events = POLLOUT, .revents = 0};
  while (::poll(&room, 1, 200) > 0 && ::send(in.get(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
  }
  BOOST_TEST(client.event()["status"] == 4);
}

BOOST_AUTO_TEST_CASE(a_container_is_deleted_whose_output_nobody_takes) {
  Json created = client.create("full", machine.config({"dd", "if=/dev/zero", "bs=1024", "count=100000"}));
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("full");
  int waiting = 0, before = -1;
  BOOST_REQUIRE(comes_true([&] {
    before = std::exchange(waiting, 0);
    return ::ioctl(out.get(), FIONREAD, &waiting) == 0 && waiting > 0 && waiting == before;
  }));
  BOOST_TEST(client.ask({{"type", "delete"}, {"container", "full"}})["type"] == "ok");
}

BOOST_AUTO_TEST_CASE(an_exec_ends_with_its_connection) {
  client.create("base", machine.config({"sleep", "1000"}), false, false);
  client.start("base");
  Client other(machine);
  Json created = other.exec("base", "lost", machine.process({"sleep", "77"}));
  Fd out = machine.connect(created["streams"]["stdout"]);
  other.ask({{"type", "release"}, {"container", "base"}, {"exec", "lost"}});
  other.close();
  BOOST_TEST(read_to_end(out.get()) == "");
  BOOST_TEST(client.ask({{"type", "state"}, {"container", "base"}})["status"] == "running");
}

BOOST_AUTO_TEST_CASE(passed_descriptors) {
  Json request = {{"type", "create"},
                  {"container", "passed"},
                  {"stdin", false},
                  {"stdout", false},
                  {"stderr", false},
                  {"config", machine.config(shell("read line <&4; echo got $line >&4; echo three >&3; exit 5"))}};
  for (const Json& wrong : {Json("rw"), Json({"x"}), Json({"rw", 7}), Json({""}), Json(std::vector<Json>(65, "r"))}) {
    request["passed"] = wrong;
    BOOST_TEST(client.ask(request)["message"] == "invalid passed");
  }
  request["passed"] = {"w", "rw"};
  Json created = client.ask(request);
  const Json& ports = created["streams"]["passed"];
  BOOST_REQUIRE_EQUAL(ports.size(), 2u);
  BOOST_TEST(ports[0]["in"] == 0);
  Fd out = machine.connect(ports[0]["out"]), in = machine.connect(ports[1]["in"]);
  Fd answer = machine.connect(ports[1]["out"]);
  client.start("passed");
  BOOST_REQUIRE(write_all(in.get(), "hello\n"));
  BOOST_TEST(*read_fd(answer.get()) == "got hello\n");
  BOOST_TEST(*read_fd(out.get()) == "three\n");
  Json exited = client.event();
  BOOST_TEST(exited["status"] == 5);
  BOOST_TEST(exited["sent"]["passed"] == Json({6, 10}));
}

BOOST_AUTO_TEST_SUITE_END()
