// SPDX-License-Identifier: Apache-2.0
// Requests about a running container: pause, processes, statistics, update.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <set>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

namespace {

// Into "ice", even if it is paused.
Json patient_exec() {
  return {
      {"type", "exec"},       {"container", "ice"}, {"exec", "patient"}, {"process", TestMachine::process({"true"})},
      {"ignorePaused", true}, {"stdin", false},     {"stdout", false},   {"stderr", false}};
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(server, Fixture)

BOOST_AUTO_TEST_CASE(a_paused_container_stands_still_until_it_is_resumed) {
  auto about = [&](const char* type) { return client.ask({{"type", type}, {"container", "ice"}}); };
  Json created =
      client.create("ice", machine.config(shell("trap 'exit 5' TERM; while :; do echo; sleep 0.01; done")), false);
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("ice");
  BOOST_TEST(about("resume")["message"] == "container not paused");
  char byte;
  BOOST_TEST(::read(out.get(), &byte, 1) == 1);
  for (int i = 0; i < 2; i++) {  // the second time nothing is left to do
    BOOST_TEST(about("pause")["type"] == "ok");
    BOOST_TEST(about("state")["status"] == "paused");
  }
  // What is on its way arrives, and then nothing more.
  pollfd more{.fd = out.get(), .events = POLLIN, .revents = 0};
  BOOST_TEST(comes_true([&] { return ::poll(&more, 1, 500) == 0 || ::read(out.get(), &byte, 1) != 1; }));
  BOOST_TEST(more.revents == 0);
  Json refused = client.exec("ice", "x", machine.process({"true"}));
  BOOST_TEST(refused["message"] == "cannot exec in a paused container (use --ignore-paused to override)");
  // One that insists is answered later.
  Client other(machine);
  other.send(patient_exec());
  BOOST_TEST(client.ask({{"type", "kill"}, {"container", "ice"}, {"signal", SIGTERM}, {"all", false}})["type"] == "ok");
  // The shell, and what it started last or the process of the patient exec, which is there soon.
  BOOST_TEST(comes_true([&] { return about("processes")["processes"].size() >= 2u; }));
  BOOST_TEST(about("state")["status"] == "paused");
  BOOST_TEST(about("resume")["type"] == "ok");
  BOOST_TEST(about("resume")["type"] == "error");
  BOOST_TEST(client.event()["status"] == 5);
  BOOST_TEST(about("pause")["message"] == "container not running");
  BOOST_TEST(about("resume")["code"] == ESRCH);
}

// What is frozen before its first step has nothing of others open.
BOOST_AUTO_TEST_CASE(an_exec_that_is_frozen_keeps_no_other_from_its_end) {
  client.create("ice", machine.config({"sleep", "1000"}), false, false);
  client.start("ice");
  Client second(machine), patient(machine);
  Json created = second.create("cat", machine.config({"cat"}), true);
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  second.start("cat");
  client.ask({{"type", "pause"}, {"container", "ice"}});
  patient.send(patient_exec());
  auto processes = [&] { return std::ranges::count(machine.cgroup_file("ice", "cgroup.procs"), '\n'); };
  BOOST_REQUIRE(comes_true([&] { return processes() == 2; }));
  BOOST_TEST(write_all(in.get(), "x\n").has_value());
  ::shutdown(in.get(), SHUT_WR);
  BOOST_TEST(read_to_end(out.get()) == "x\n");
  BOOST_TEST(second.event()["status"] == 0);
  client.ask({{"type", "resume"}, {"container", "ice"}});
  BOOST_TEST(patient.reply()["type"] == "created");
}

BOOST_AUTO_TEST_CASE(a_look_at_proc_that_a_container_stops_ends) {
  Json config = machine.config(shell(
      "while :; do for p in /proc/[0-9]*; do read c < $p/comm && case $c in server_test*) kill -STOP ${p#/proc/};;"
      " esac; done; done 2> /dev/null"));
  client.create("hostile", config, false, false);
  client.start("hostile");
  Json reply;
  BOOST_REQUIRE(comes_true([&] {
    reply = client.ask({{"type", "procfs"}, {"container", "hostile"}});
    return reply["type"] != "procfs";
  }));
  BOOST_TEST(reply["message"] == "the guest could not do this in time");
}

BOOST_AUTO_TEST_CASE(a_paused_container_can_be_killed_and_deleted) {
  auto ask = [&](const char* type, const char* id) { return client.ask({{"type", type}, {"container", id}}); };
  client.create("one", machine.config(shell("sleep 1000 & sleep 1000")), false, false);
  client.start("one");
  ask("pause", "one");
  BOOST_TEST(client.ask({{"type", "kill"}, {"container", "one"}, {"signal", SIGKILL}, {"all", false}})["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGKILL);
  client.create("two", machine.config({"sleep", "1000"}), false, false);
  // Not started yet, as well.
  BOOST_TEST(ask("pause", "two")["type"] == "ok");
  BOOST_TEST(client.start("two")["message"] == "cannot start a container in the paused state");
  BOOST_TEST(ask("delete", "two")["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGKILL);
  BOOST_TEST(!machine.has_cgroup("two"));
}

BOOST_AUTO_TEST_CASE(processes_of_a_container) {
  client.create("ps", machine.config(shell("sleep 1000 & exec sleep 999")), false, false);
  client.start("ps");
  Json reply;
  auto both_sleep = [&] {
    reply = client.ask({{"type", "processes"}, {"container", "ps"}});
    size_t asleep = 0;
    for (const Json& process : reply["processes"]) {
      if (process["args"].get<std::string>().starts_with("sleep ") &&
          process["stat"].get<std::string>().find("(sleep) S") != std::string::npos)
        asleep++;
    }
    return asleep == 2;
  };
  BOOST_REQUIRE(comes_true(both_sleep));
  BOOST_REQUIRE_EQUAL(reply["type"], "processes");
  BOOST_TEST(reply["hertz"] == 100);
  BOOST_TEST(reply["uptime"].get<int64_t>() > 0);
  BOOST_REQUIRE_EQUAL(reply["processes"].size(), 2u);
  std::set<std::string> arguments;
  for (const Json& process : reply["processes"]) {
    arguments.insert(process["args"]);
    BOOST_TEST(process["uid"] == Json({0, 0}));
  }
  BOOST_TEST((arguments == std::set<std::string>{"sleep 1000", "sleep 999"}));
  // Of a stopped one there are none.
  client.ask({{"type", "kill"}, {"container", "ps"}, {"signal", SIGKILL}, {"all", false}});
  client.event();
  BOOST_TEST(client.ask({{"type", "processes"}, {"container", "ps"}})["processes"].empty());
}

BOOST_AUTO_TEST_CASE(proc_files_of_a_container) {
  client.create("proc", machine.config(shell("sleep 1000 & exec sleep 999")), false, false);
  client.start("proc");
  Json reply;
  auto both_sleep = [&] {
    reply = client.ask({{"type", "procfs"}, {"container", "proc"}});
    size_t asleep = 0;
    for (const auto& [pid, process] : reply["processes"].items()) {
      if (process["files"]["stat"].get<std::string>().find(" (sleep) S ") != std::string::npos) asleep++;
    }
    return asleep == 2;
  };
  BOOST_REQUIRE(comes_true(both_sleep));
  BOOST_REQUIRE_EQUAL(reply["type"], "procfs");
  BOOST_TEST(reply["machine"]["uptime"].is_string());
  // With the pids that they have inside, and nobody else's: not even of whoever looks.
  BOOST_REQUIRE_EQUAL(reply["processes"].size(), 2u);
  const Json& first = reply["processes"]["1"];
  BOOST_TEST(first["files"]["stat"].get<std::string>().starts_with("1 (sleep) S 0 "));
  BOOST_TEST(first["files"]["cmdline"] == std::string("sleep\000999\0", 10));
  BOOST_TEST(first["namespaces"]["pid"].get<std::string>().starts_with("pid:["));
  client.ask({{"type", "kill"}, {"container", "proc"}, {"signal", SIGKILL}, {"all", false}});
  client.event();
  BOOST_TEST(client.ask({{"type", "procfs"}, {"container", "proc"}})["type"] == "error");
}

BOOST_AUTO_TEST_CASE(a_container_says_once_that_it_is_ready) {
  BOOST_TEST(!machine.notify("ready", "READY=1"));
  Json request = {{"type", "create"}, {"container", "ready"}, {"stdin", false},
                  {"stdout", false},  {"stderr", false},      {"config", machine.config({"sleep", "1000"})}};
  request["notify"] = 1;
  BOOST_TEST(client.ask(request)["type"] == "error");
  request["notify"] = true;
  BOOST_REQUIRE_EQUAL(client.ask(request)["type"], "created");
  client.start("ready");
  for (const std::string& text : {std::string("STATUS=\xff\xfe"), std::string(1000, '\0'), std::string(20000, 'x'),
                                  std::string("XREADY=1\nREADY=10\n")}) {
    BOOST_TEST(machine.notify("ready", text));
  }
  for (int i = 0; i < 3; i++) BOOST_TEST(machine.notify("ready", "STATUS=there\nREADY=1"));
  BOOST_TEST(client.event() == Json({{"type", "ready"}, {"container", "ready"}}));
  client.ask({{"type", "kill"}, {"container", "ready"}, {"signal", SIGKILL}, {"all", false}});
  BOOST_TEST(client.event()["type"] == "exited");  // and nothing in between
  client.ask({{"type", "delete"}, {"container", "ready"}});
  BOOST_TEST(!machine.notify("ready", "READY=1"));
}

BOOST_AUTO_TEST_CASE(mounts_of_the_host_come_and_go) {
  namespace fs = std::filesystem;
  for (const char* name : {"served/sub", "other"}) fs::create_directories(machine.directory() + "/" + name);
  *replace_file(machine.directory() + "/other/file", "of the other\n");
  Json config = machine.config({"sh", "-c",
                                "until [ -e /m/sub/file ]; do sleep 0.02; done; echo x >/m/sub/new; cat /m/sub/file; "
                                "while [ -e /m/sub/file ]; do sleep 0.02; done; echo gone"});
  config["mounts"].push_back(
      {{"destination", "/m"}, {"type", "bind"}, {"source", machine.directory() + "/served"}, {"options", {"rbind"}}});
  Json request = {{"type", "create"}, {"container", "later"}, {"stdin", false},
                  {"stdout", true},   {"stderr", true},       {"config", config}};
  request["hostMounts"] = {{{"path", "served"}, {"options", {"rw"}}}};
  Json created = client.ask(request);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd out = machine.connect(created["streams"]["stdout"]), err = machine.connect(created["streams"]["stderr"]);
  client.start("later");

  Json mount = {{"type", "mount"}, {"container", "later"}, {"path", "served/sub"}, {"options", {"ro"}}};
  mount["source"] = "none";
  BOOST_TEST(client.ask(mount)["code"] == ENOENT);
  mount["source"] = 5;
  BOOST_TEST(client.ask(mount)["message"] == "mount.source is not a string");
  mount["source"] = "other";
  mount["path"] = "none";
  BOOST_TEST(client.ask(mount)["code"] == ENOENT);
  mount["path"] = "served/sub";
  BOOST_TEST(client.ask(mount)["type"] == "ok");
  std::array<std::byte, 13> text;
  BOOST_REQUIRE(read_all(out.get(), text));
  BOOST_TEST(std::string(reinterpret_cast<const char*>(text.data()), text.size()) == "of the other\n");
  Json unmount = {{"type", "unmount"}, {"container", "later"}, {"path", "served/sub"}};
  unmount["path"] = "other";
  BOOST_TEST(client.ask(unmount)["code"] == EINVAL);
  unmount["path"] = "served/sub";
  BOOST_TEST(client.ask(unmount)["type"] == "ok");  // the container ends by it
  BOOST_TEST(read_to_end(out.get()) == "gone\n");
  BOOST_TEST(read_to_end(err.get()).contains("Read-only file system"));
  BOOST_TEST(client.event()["type"] == "exited");
  BOOST_TEST(client.ask(mount)["code"] == ESRCH);
  client.ask({{"type", "delete"}, {"container", "later"}});
}

BOOST_AUTO_TEST_CASE(statistics_and_updates) {
  client.create("box", machine.config({"sleep", "1000"}), false, false);
  Json reply = client.ask({{"type", "statistics"}, {"container", "box"}});
  BOOST_REQUIRE_EQUAL(reply["type"], "statistics");
  BOOST_TEST(reply["files"]["cpu.stat"].get<std::string>().starts_with("usage_usec "));
  auto update = [&](Json resources) {
    return client.ask({{"type", "update"}, {"container", "box"}, {"resources", std::move(resources)}});
  };
  BOOST_TEST(update(Json::object())["type"] == "ok");
  BOOST_TEST(update({{"memory", {{"limit", "much"}}}})["message"] == "resources.memory.limit is not an integer");
  BOOST_TEST(update({{"unified", {{"cgroup.max.depth", "3"}}}})["type"] == "ok");
  // All or nothing.
  Json failed = update({{"unified", {{"cgroup.max.depth", "4"}, {"cgroup.nonesuch", "5"}}}});
  BOOST_TEST(failed["message"].get<std::string>().contains("resource \"cgroup.nonesuch\" can't be set"));
  BOOST_TEST(machine.cgroup_file("box", "cgroup.max.depth") == "3\n");
  // Whether there is a memory controller is the machine's business here.
  Json watched = client.ask({{"type", "watch"}, {"container", "box"}});
  BOOST_TEST((watched["type"] == "ok" || watched["code"] == ENOENT));
}

BOOST_AUTO_TEST_SUITE_END()
