// The whole of guest-init but its boot: containers made and run through the protocol.
#define BOOST_TEST_MODULE guest_server
#define BOOST_TEST_NO_MAIN
#define BOOST_TEST_ALTERNATIVE_INIT_API
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <set>
#include <thread>

#include "guest-init/test_machine.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

namespace {

std::vector<std::string> shell(const std::string& script) {
  return {"sh", "-c", script};
}

struct Fixture {
  TestMachine machine;
  Client client{machine};

  std::string message_of(const Json& config) {
    Json reply = client.create("bad", config);
    BOOST_TEST(reply["type"] == "error");
    BOOST_TEST(!machine.has_cgroup("bad"));
    BOOST_TEST(client.ask({{"type", "state"}, {"container", "bad"}})["code"] == ENOENT);
    return reply.value("message", "");
  }
};

// What comes up to `end`, and perhaps a little more.
std::string read_until(int fd, std::string_view end) {
  std::string text;
  while (text.find(end) == std::string::npos) {
    std::array<char, 64> bytes;
    ssize_t n = ::read(fd, bytes.data(), bytes.size());
    BOOST_REQUIRE(n > 0);
    text.append(bytes.data(), static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(server, Fixture)

BOOST_AUTO_TEST_CASE(a_container_from_create_to_delete) {
  Json created = client.create("one", machine.config(shell("echo out; echo err >&2; exit 7")));
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  BOOST_TEST(created["pid"].get<int>() > 1);
  Fd out = machine.connect(created["streams"]["stdout"]), err = machine.connect(created["streams"]["stderr"]);
  BOOST_TEST(!created["streams"].contains("stdin"));
  BOOST_TEST(client.ask({{"type", "state"}, {"container", "one"}})["status"] == "created");
  BOOST_TEST(machine.has_cgroup("one"));
  Json again = client.create("one", machine.config({"true"}));
  BOOST_TEST(again["code"] == EEXIST);

  BOOST_TEST(client.start("one")["type"] == "ok");
  BOOST_TEST(read_to_end(out.get()) == "out\n");
  BOOST_TEST(read_to_end(err.get()) == "err\n");
  Json exited = client.event();
  BOOST_TEST(exited["status"] == 7);
  BOOST_TEST(exited["signal"] == 0);
  BOOST_TEST(exited["sent"] == (Json{{"stdout", 4}, {"stderr", 4}}));
  BOOST_TEST(!machine.has_cgroup("one"));
  Json state = client.ask({{"type", "state"}, {"container", "one"}});
  BOOST_TEST(state["status"] == "stopped");
  BOOST_TEST(state["exit"]["status"] == 7);
  BOOST_TEST(client.start("one")["type"] == "error");
  Json killed = client.ask({{"type", "kill"}, {"container", "one"}, {"signal", 15}, {"all", false}});
  BOOST_TEST(killed["code"] == ESRCH);
  BOOST_TEST(killed["message"] == "container not running");
  BOOST_TEST(client.ask({{"type", "delete"}, {"container", "one"}})["type"] == "ok");
  BOOST_TEST(client.ask({{"type", "state"}, {"container", "one"}})["code"] == ENOENT);
}

BOOST_AUTO_TEST_CASE(what_the_container_sees) {
  Json config = machine.config(shell(
      "hostname; echo $$; pwd; echo $A $HOME; cat /proc/version | wc -c; ls /secret | wc -l; touch /etc/x 2>&1;"
      "(echo x > /proc/sys/kernel/hostname) 2>&1; readlink /dev/fd; readlink /dev/ptmx; stat -c '%F %t %T %a' "
      "/dev/null /dev/tty; echo via > "
      "/dev/stdout;"
      "cat /data/file; touch /data/file 2>&1; ls / | grep data; grep ^0: /proc/self/cgroup; ls /dev/shm /dev/mqueue;"
      "ls /proc/self/fd | wc -l"));
  std::filesystem::create_directory(machine.directory() + "/volume");
  *replace_file(machine.directory() + "/volume/file", "volume\n", 0644);
  config["mounts"].push_back({{"type", "bind"},
                              {"source", machine.directory() + "/volume"},
                              {"destination", "/data"},
                              {"options", {"rbind", "ro", "rprivate"}}});
  config["process"]["cwd"] = "/made/up";
  auto outcome = client.run("view", config);
  BOOST_TEST(outcome.exited["status"] == 0);
  BOOST_TEST(outcome.out ==
             "inside\n1\n/made/up\nb /root\n0\n0\ntouch: /etc/x: Read-only file system\n"
             "sh: can't create /proc/sys/kernel/hostname: Read-only file system\n/proc/self/fd\npts/ptmx\n"
             "character special file 1 3 666\ncharacter special file 5 0 666\nvia\n"
             "volume\ntouch: /data/file: Read-only file system\ndata\n0::/\n/dev/mqueue:\n\n/dev/shm:\n4\n");
  BOOST_TEST(outcome.err == "");
}

BOOST_AUTO_TEST_CASE(who_the_process_is) {
  Json config =
      machine.config(shell("id; umask; ulimit -n; grep -E 'Cap|NoNewPrivs' /proc/self/status; echo $HOME;"
                           "cat /proc/self/oom_score_adj; echo mine > /dev/stdout"));
  Json& process = config["process"];
  process["user"] = {{"uid", 1000}, {"gid", 100}, {"umask", 027}, {"additionalGids", {5, 7}}};
  process["noNewPrivileges"] = true;
  process["oomScoreAdj"] = 300;
  process["rlimits"] = {{{"type", "RLIMIT_NOFILE"}, {"soft", 200}, {"hard", 300}}};
  process["capabilities"] = {{"bounding", {"CAP_NET_BIND_SERVICE", "CAP_CHOWN", "CAP_WHATEVER"}},
                             {"permitted", {"CAP_NET_BIND_SERVICE"}},
                             {"effective", {"CAP_NET_BIND_SERVICE"}},
                             {"inheritable", {"CAP_NET_BIND_SERVICE"}},
                             {"ambient", {"CAP_NET_BIND_SERVICE"}}};
  auto outcome = client.run("who", config);
  BOOST_TEST(outcome.exited["status"] == 0);
  BOOST_TEST(outcome.out ==
             "uid=1000(user) gid=100 groups=5,7\n0027\n200\n"
             "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"
             "CapBnd:\t0000000000000401\nCapAmb:\t0000000000000400\nNoNewPrivs:\t1\n/home/user\n300\nmine\n");
}

BOOST_AUTO_TEST_CASE(the_root_can_be_read_only_and_dev_too) {
  Json config =
      machine.config(shell("touch /x 2>&1; touch /dev/x 2>&1; touch /dev/shm/x && echo yes > /dev/null && echo ok"));
  config["root"]["readonly"] = true;
  config["mounts"][1]["options"].push_back("ro");
  auto outcome = client.run("ro", config);
  BOOST_TEST(outcome.out == "touch: /x: Read-only file system\ntouch: /dev/x: Read-only file system\nok\n");
}

BOOST_AUTO_TEST_CASE(symbolic_links_of_the_image_stay_inside) {
  std::filesystem::create_directory_symlink("../../../.." + machine.directory(), machine.rootfs() + "/up");
  std::filesystem::create_directory_symlink("/later/on", machine.rootfs() + "/dangling");
  std::filesystem::create_directory(machine.directory() + "/outside");
  Json config = machine.config(
      shell("echo here > /up/outside/file; cat /dangling/deep/file; readlink /dangling; echo /later/on/*/*"));
  *replace_file(machine.directory() + "/single", "single\n", 0644);
  config["mounts"].push_back({{"type", "tmpfs"}, {"source", "tmpfs"}, {"destination", "/up/outside"}});
  config["mounts"].push_back({{"type", "bind"},
                              {"source", machine.directory() + "/single"},
                              {"destination", "/dangling/deep/file"},
                              {"options", {"bind"}}});
  auto outcome = client.run("links", config);
  BOOST_TEST(outcome.exited["status"] == 0);
  BOOST_TEST(outcome.out == "single\n/later/on\n/later/on/deep/file\n");
  BOOST_TEST(std::filesystem::is_empty(machine.directory() + "/outside"));
}

BOOST_AUTO_TEST_CASE(errors_name_the_step_and_leave_nothing) {
  BOOST_TEST(message_of(machine.config({"nothing"})) == "exec: \"nothing\": executable file not found in $PATH");
  BOOST_TEST(message_of(machine.config({"/no/thing"})) ==
             "exec: \"/no/thing\": stat /no/thing: no such file or directory");
  BOOST_TEST(message_of(machine.config({"/etc/passwd"})) == "exec: \"/etc/passwd\": permission denied");
  BOOST_TEST(message_of(machine.config({"/etc"})) == "exec: \"/etc\": is a directory");
  Json config = machine.config({"true"});
  config["mounts"][0]["type"] = "nosuchfs";
  BOOST_TEST(message_of(config) == "mount nosuchfs on /proc: file system nosuchfs: No such device");
  config = machine.config({"true"});
  config["mounts"][1]["options"] = {"size=huge"};
  BOOST_TEST(message_of(config).starts_with("mount tmpfs on /dev: option size=huge: "));
  config = machine.config({"true"});
  config["root"]["path"] = "/no/root";
  BOOST_TEST(message_of(config).starts_with("root file system: "));
  config = machine.config({"true"});
  config["linux"]["sysctl"]["no.such"] = "1";
  BOOST_TEST(message_of(config).starts_with("sysctl no/such: "));
  config["linux"]["sysctl"] = nullptr;
  config["linux"]["resources"]["unified"]["memory.nothing"] = "1";
  BOOST_TEST(message_of(config).starts_with("set memory.nothing to 1: "));
  config = machine.config({"true"});
  config["process"]["terminal"] = true;
  config["mounts"] = Json::array();
  BOOST_TEST(message_of(config) == "terminal: open /dev/pts/ptmx: No such file or directory");
}

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
  Json config = machine.config(shell("trap 'exit 3' HUP; echo ready; while :; do sleep 0.05; done"));
  config["process"]["terminal"] = true;
  Json created = client.create("hangup", config);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("hangup")["type"] == "ok");
  // Only then is the trap set: a signal without one would not be for a PID 1.
  BOOST_TEST(read_until(out.get(), "ready").starts_with("ready"));
  in.reset();
  Json exited = client.event();
  BOOST_TEST((exited["status"] == 3 || exited["signal"] == SIGHUP));
}

BOOST_AUTO_TEST_CASE(a_program_that_cannot_run_is_told_at_start) {
  BOOST_REQUIRE_EQUAL(client.create("broken", machine.config({"/bin/broken"}), false, false)["type"], "created");
  Json started = client.start("broken");
  BOOST_TEST(started["type"] == "error");
  BOOST_TEST(started["message"] == "exec /bin/broken: exec format error");
  BOOST_TEST(client.event()["status"] == 126);
}

BOOST_AUTO_TEST_CASE(much_data_passes_unchanged_and_the_end_of_input_ends_it) {
  Json created = client.create("cat", machine.config({"cat"}), true);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd in = machine.connect(created["streams"]["stdin"]), out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("cat")["type"] == "ok");
  std::string data(64 << 20, '\0');
  uint32_t random = 1;
  for (char& c : data) c = static_cast<char>((random = random * 1664525 + 1013904223) >> 24);
  std::thread writer([&] {
    BOOST_TEST(write_all(in.get(), data).has_value());
    ::shutdown(in.get(), SHUT_WR);
  });
  std::string back = read_to_end(out.get());
  writer.join();
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

BOOST_AUTO_TEST_CASE(signals) {
  auto kill = [&](const char* id, int signal, bool all = false) {
    return client.ask({{"type", "kill"}, {"container", id}, {"signal", signal}, {"all", all}});
  };
  client.create("killed", machine.config({"sleep", "1000"}), false, false);
  client.start("killed");
  BOOST_TEST(kill("killed", 0)["type"] == "ok");
  BOOST_TEST(kill("killed", 99)["type"] == "error");
  BOOST_TEST(kill("killed", SIGKILL)["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGKILL);

  client.create("trap", machine.config(shell("trap 'exit 5' TERM; while :; do sleep 0.05; done")), false, false);
  client.start("trap");
  ::usleep(100'000);
  kill("trap", SIGTERM);
  BOOST_TEST(client.event()["status"] == 5);

  client.create("all", machine.config(shell("trap '' TERM; sleep 1000 & wait; exit 6")), false, false);
  client.start("all");
  BOOST_TEST(kill("all", SIGKILL, true)["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGKILL);

  // Before its start it has no handlers, and a first process would ignore it.
  client.create("early", machine.config({"true"}), false, false);
  BOOST_TEST(kill("early", SIGTERM)["type"] == "ok");
  BOOST_TEST(client.event()["signal"] == SIGTERM);
  BOOST_TEST(kill("nobody", SIGTERM)["code"] == ENOENT);
}

BOOST_AUTO_TEST_CASE(ten_execs_at_once) {
  client.create("base", machine.config({"sleep", "1000"}), false, false);
  BOOST_TEST(client.exec("base", "early", machine.process({"true"}))["message"] ==
             "cannot exec in a stopped container");
  client.start("base");
  std::vector<std::thread> threads;
  for (int i = 0; i < 10; i++) {
    threads.emplace_back([&, i] {
      Client own(machine);
      std::string name = "e" + std::to_string(i);
      Json created =
          own.exec("base", name, machine.process(shell("hostname; ps | grep -c sleep; exit " + std::to_string(i))));
      BOOST_REQUIRE_EQUAL(created["type"], "created");
      Fd out = machine.connect(created["streams"]["stdout"]);
      BOOST_TEST(own.ask({{"type", "release"}, {"container", "base"}, {"exec", name}})["type"] == "ok");
      BOOST_TEST(read_to_end(out.get()).starts_with("inside\n"));
      Json exited = own.event();
      BOOST_TEST(exited["exec"] == name);
      BOOST_TEST(exited["status"] == i);
    });
  }
  for (auto& thread : threads) thread.join();
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

BOOST_AUTO_TEST_CASE(many_containers_side_by_side) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; i++) {
    threads.emplace_back([&, i] {
      Client own(machine);
      auto outcome = own.run("c" + std::to_string(i), machine.config({"echo", std::to_string(i)}));
      BOOST_TEST(outcome.out == std::to_string(i) + "\n");
    });
  }
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 20; i++) BOOST_TEST(!machine.has_cgroup("c" + std::to_string(i)));
}

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
  std::string flood(1 << 20, '\0');
  ::usleep(100'000);
  while (::recv(out.get(), flood.data(), flood.size(), MSG_DONTWAIT) > 0) {
  }
  ::usleep(200'000);
  BOOST_TEST(::recv(out.get(), &byte, 1, MSG_DONTWAIT) == -1);
  Json refused = client.exec("ice", "x", machine.process({"true"}));
  BOOST_TEST(refused["message"] == "cannot exec in a paused container (use --ignore-paused to override)");
  // One that insists is answered later.
  Client other(machine);
  other.send({{"type", "exec"},
              {"container", "ice"},
              {"exec", "patient"},
              {"process", machine.process({"true"})},
              {"ignorePaused", true},
              {"stdin", false},
              {"stdout", false},
              {"stderr", false}});
  BOOST_TEST(client.ask({{"type", "kill"}, {"container", "ice"}, {"signal", SIGTERM}, {"all", false}})["type"] == "ok");
  BOOST_TEST(about("processes")["processes"].size() >= 2u);
  BOOST_TEST(about("state")["status"] == "paused");
  BOOST_TEST(about("resume")["type"] == "ok");
  BOOST_TEST(about("resume")["type"] == "error");
  BOOST_TEST(client.event()["status"] == 5);
  BOOST_TEST(about("pause")["message"] == "container not running");
  BOOST_TEST(about("resume")["code"] == ESRCH);
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
  ::usleep(300'000);
  Json reply = client.ask({{"type", "processes"}, {"container", "ps"}});
  BOOST_REQUIRE_EQUAL(reply["type"], "processes");
  BOOST_TEST(reply["hertz"] == 100);
  BOOST_TEST(reply["uptime"].get<int64_t>() > 0);
  BOOST_REQUIRE_EQUAL(reply["processes"].size(), 2u);
  std::set<std::string> arguments;
  for (const Json& process : reply["processes"]) {
    arguments.insert(process["args"]);
    BOOST_TEST(process["uid"] == Json({0, 0}));
    BOOST_TEST(process["stat"].get<std::string>().find("(sleep) S") != std::string::npos);
  }
  BOOST_TEST((arguments == std::set<std::string>{"sleep 1000", "sleep 999"}));
  // Of a stopped one there are none.
  client.ask({{"type", "kill"}, {"container", "ps"}, {"signal", SIGKILL}, {"all", false}});
  client.event();
  BOOST_TEST(client.ask({{"type", "processes"}, {"container", "ps"}})["processes"].empty());
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
  BOOST_TEST(failed["message"].get<std::string>().starts_with("set cgroup.nonesuch to 5: "));
  BOOST_TEST(machine.cgroup_file("box", "cgroup.max.depth") == "3\n");
  // Whether there is a memory controller is the machine's business here.
  Json watched = client.ask({{"type", "watch"}, {"container", "box"}});
  BOOST_TEST((watched["type"] == "ok" || watched["code"] == ENOENT));
}

BOOST_AUTO_TEST_CASE(broken_requests_do_no_harm) {
  for (const Json& bad : {Json{{"type", "create"}}, Json{{"type", "create"}, {"container", "../x"}},
                          Json{{"type", "start"}, {"container", 5}}, Json{{"type", "kill"}, {"container", "x"}}}) {
    BOOST_TEST(client.ask(bad)["type"] == "error");
  }
  for (const Json& config : {Json(5), Json::object(), Json{{"root", {{"path", 1}}}}, Json{{"root", "x"}}}) {
    BOOST_TEST(client.create("x", config)["type"] == "error");
  }
  Client unknown(machine);
  BOOST_TEST(unknown.ask({{"type", "dance"}})["type"] == "closed");
  Client cut(machine);
  cut.send({{"type", "create"},
            {"container", "cut"},
            {"config", machine.config({"true"})},
            {"stdin", false},
            {"stdout", true},
            {"stderr", true}});
  cut.close();
  BOOST_TEST(client.run("after", machine.config({"echo", "fine"})).out == "fine\n");
  BOOST_TEST(machine.is_running());
}

BOOST_AUTO_TEST_SUITE_END()

int main(int argc, char** argv) {
  std::string missing = machine_missing();
  if (!missing.empty()) {
    std::printf("skipped: %s\n", missing.c_str());
    return 77;
  }
  return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
