// SPDX-License-Identifier: Apache-2.0
// What a process is given: user, filters, scheduling, hooks, environment.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

namespace {

// One system call gives `code`, everything else is let through.
Json without(uint32_t call, uint32_t code) {
  std::vector<sock_filter> program = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
                                      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, call},
                                      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | code},
                                      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  Json json{{"program", Json::array()}, {"flags", 0}};
  for (const auto& instruction : program) json["program"].push_back(std::bit_cast<uint64_t>(instruction));
  return json;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(server, Fixture)

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

BOOST_AUTO_TEST_CASE(a_seccomp_filter_holds_for_all_processes) {
  for (bool no_new_privileges : {true, false}) {
    Json config =
        machine.config(shell("mkdir /dev/shm/x 2>&1; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; sleep 1000"));
    config["process"]["noNewPrivileges"] = no_new_privileges;
    config["process"]["user"] = {{"uid", 1000}, {"gid", 100}};
    Json request{{"type", "create"},
                 {"container", "one"},
                 {"config", config},
                 {"stdin", false},
                 {"stdout", true},
                 {"stderr", false},
                 {"seccomp", without(SYS_mkdir, EXDEV)}};
    Json created = client.ask(request);
    BOOST_REQUIRE_EQUAL(created["type"], "created");
    Fd out = machine.connect(created["streams"]["stdout"]);
    BOOST_TEST(client.start("one")["type"] == "ok");
    BOOST_TEST(read_until(out.get(), "\nSeccomp:\t2\n") ==
               "mkdir: can't create directory '/dev/shm/x': Invalid cross-device link\nNoNewPrivs:\t" +
                   std::to_string(no_new_privileges) + "\nSeccomp:\t2\n");
    Json exec = client.exec("one", "other", machine.process(shell("mkdir /dev/shm/x 2>&1")));
    Fd exec_out = machine.connect(exec["streams"]["stdout"]);
    client.ask({{"type", "release"}, {"container", "one"}, {"exec", "other"}});
    BOOST_TEST(read_to_end(exec_out.get()) ==
               "mkdir: can't create directory '/dev/shm/x': Invalid cross-device link\n");
    BOOST_TEST(client.ask({{"type", "delete"}, {"container", "one"}})["type"] == "ok");
    client.event();
    client.event();
  }
}

// Profiles that were written before a system call was do not let it through.
BOOST_AUTO_TEST_CASE(a_program_is_found_under_an_old_filter) {
  for (uint32_t call : {SYS_faccessat2, SYS_getcwd, SYS_openat2, SYS_close_range, SYS_clone3, SYS_statx}) {
    Json config = machine.config({"sh", "-c", "echo ran"});
    config["process"]["noNewPrivileges"] = false;
    Json created = client.ask({{"type", "create"},
                               {"container", "old"},
                               {"config", config},
                               {"stdin", false},
                               {"stdout", true},
                               {"stderr", false},
                               {"seccomp", without(call, EPERM)}});
    BOOST_TEST_CONTEXT("system call " << call) {
      BOOST_REQUIRE_EQUAL(created["type"], "created");
      Fd out = machine.connect(created["streams"]["stdout"]);
      client.start("old");
      BOOST_TEST(read_to_end(out.get()) == "ran\n");
      client.event();
      client.ask({{"type", "delete"}, {"container", "old"}});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_broken_seccomp_filter_is_an_error) {
  Json request{{"type", "create"}, {"container", "one"}, {"config", machine.config({"true"})},
               {"stdin", false},   {"stdout", false},    {"stderr", false}};
  request["seccomp"] = {{"program", Json::array()}};
  BOOST_TEST(client.ask(request)["message"] == "seccomp.program does not have 1 to 4096 instructions");
  request["seccomp"] = {{"program", {0}}};
  BOOST_TEST(client.ask(request)["message"] == "install the seccomp filter: invalid argument");
  BOOST_TEST(!machine.has_cgroup("one"));
}

// No driver has these numbers: an access that is let through finds no such device.
BOOST_AUTO_TEST_CASE(devices_are_used_as_the_rules_allow) {
  auto verdicts = [&](const Json& rules) {
    Json config =
        machine.config(shell("for n in 240:1 240:2 240:3 241:1; do for way in '<' '>' '<>'; do"
                             " case $(eval \"sh -c 'exec 3$way/dev/$n'\" 2>&1) in *'not permitted') echo -n n;; "
                             "*'device or address') echo -n "
                             "y;; esac; done; echo -n ' '; done; cat /dev/zero | head -c 1 | wc -c"));
    for (auto [major, minor] : {std::pair(240, 1), std::pair(240, 2), std::pair(240, 3), std::pair(241, 1)}) {
      config["linux"]["devices"].push_back({{"path", "/dev/" + std::to_string(major) + ":" + std::to_string(minor)},
                                            {"type", "c"},
                                            {"major", major},
                                            {"minor", minor}});
    }
    config["linux"]["resources"]["devices"] = rules;
    auto outcome = client.run("box", config);
    return outcome.out + outcome.err + outcome.exited.value("message", "");
  };
  BOOST_TEST(verdicts(Json::array()) == "nnn nnn nnn nnn 1\n");
  BOOST_TEST(verdicts({{{"allow", false}, {"access", "rwm"}}}) == "nnn nnn nnn nnn 1\n");
  BOOST_TEST(verdicts({{{"allow", true}, {"access", "rwm"}}}) == "yyy yyy yyy yyy 1\n");
  // Read, write, both: each rule is about what it names alone, and the last one that does counts.
  BOOST_TEST(verdicts({{{"allow", false}, {"access", "rwm"}},
                       {{"allow", true}, {"type", "c"}, {"major", 240}, {"minor", -1}, {"access", "r"}},
                       {{"allow", false}, {"type", "c"}, {"major", 240}, {"minor", 2}, {"access", "rwa"}},
                       {{"allow", true}, {"type", "c"}, {"major", 240}, {"minor", 3}, {"access", "w"}},
                       {{"allow", true}, {"type", "b"}, {"major", 241}, {"access", "rw"}}}) == "ynn nnn yyy nnn 1\n");
  BOOST_TEST(verdicts({{{"allow", true}, {"type", "a"}, {"access", "rwm"}},
                       {{"allow", false}, {"type", "c"}, {"minor", 1}, {"access", "w"}}}) == "ynn yyy yyy ynn 1\n");
  BOOST_TEST(verdicts({{{"allow", true}}}) == "linux.resources.devices[0] has no access");
  BOOST_TEST(verdicts({{{"access", "x"}}}).starts_with("linux.resources.devices[0] has the access \"x\""));
  BOOST_TEST(verdicts({{{"access", "r"}, {"type", "p"}}}).starts_with("linux.resources.devices[0] has the type \"p\""));
  BOOST_TEST(!machine.has_cgroup("box"));
}

BOOST_AUTO_TEST_CASE(scheduling_of_the_process) {
  Json config = machine.config(shell("set -- $(cat /proc/self/stat); echo ${19}; sleep 1000"));
  config["process"]["scheduler"] = {{"policy", "SCHED_BATCH"}, {"nice", 7}};
  config["process"]["ioPriority"] = {{"class", "IOPRIO_CLASS_IDLE"}, {"priority", 0}};
  Json created = client.create("one", config);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("one");
  Json process = machine.process(shell("grep Cpus_allowed_list /proc/self/status"));
  process["execCPUAffinity"] = {{"initial", "0"}, {"final", "0"}};
  Json exec = client.exec("one", "other", process);
  BOOST_REQUIRE_EQUAL(exec["type"], "created");
  Fd exec_out = machine.connect(exec["streams"]["stdout"]);
  client.ask({{"type", "release"}, {"container", "one"}, {"exec", "other"}});
  BOOST_TEST(read_to_end(exec_out.get()) == "Cpus_allowed_list:\t0\n");
  process["execCPUAffinity"]["final"] = "1023";
  BOOST_TEST(client.exec("one", "third", process)["message"] == "set process.execCPUAffinity.final: invalid argument");
  BOOST_TEST(read_until(out.get(), "\n") == "7\n");
  client.ask({{"type", "delete"}, {"container", "one"}});
}

BOOST_AUTO_TEST_CASE(hooks_run_in_the_container_before_its_program) {
  Json config = machine.config(shell("cat /tmp/log"));
  config["ociVersion"] = "1.2.0";
  config["process"]["env"].push_back("GREETING=hello");
  config["hooks"]["startContainer"] = {
      {{"path", "/bin/sh"}, {"args", {"sh", "-c", "cat > /tmp/log; echo; echo $GREETING $PPID >> /tmp/log"}}},
      {{"path", "/bin/sh"}, {"args", {"sh", "-c", "echo $A. $GREETING. >> /tmp/log"}}, {"env", {"A=b"}}},
      // Under the filter.
      {{"path", "/bin/sh"}, {"args", {"sh", "-c", "mkdir /tmp/d || echo refused >> /tmp/log"}}}};
  config["process"]["noNewPrivileges"] = true;
  Json request{{"type", "create"}, {"container", "one"}, {"config", config}, {"stdin", false},
               {"stdout", true},   {"stderr", false},    {"bundle", "/b"},   {"seccomp", without(SYS_mkdir, EXDEV)}};
  Json created = client.ask(request);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  BOOST_TEST(!std::filesystem::exists(machine.rootfs() + "/tmp/log"));
  Fd out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("one")["type"] == "ok");
  BOOST_TEST(read_to_end(out.get()) == R"({"bundle":"/b","id":"one","ociVersion":"1.2.0","pid":1,"status":"created"})"
                                       "hello 1\nb. .\nrefused\n");
  client.event();
}

BOOST_AUTO_TEST_CASE(a_hook_that_fails_stops_the_start) {
  Json config = machine.config(shell("touch /tmp/ran"));
  config["hooks"]["startContainer"] = {{{"path", "/bin/true"}},
                                       {{"path", "/bin/sh"}, {"args", {"sh", "-c", "echo why >&2; exit 4"}}}};
  BOOST_REQUIRE_EQUAL(client.create("one", config, false, false)["type"], "created");
  BOOST_TEST(client.start("one")["message"] ==
             "error running startContainer hook #1: exit status 4, stdout: , stderr: why\n");
  BOOST_TEST(client.event()["status"] == 1);
  BOOST_TEST(!std::filesystem::exists(machine.rootfs() + "/tmp/ran"));
  config["hooks"]["startContainer"] = {{{"path", "/bin/sleep"}, {"args", {"sleep", "100"}}, {"timeout", 1}}};
  BOOST_REQUIRE_EQUAL(client.create("two", config, false, false)["type"], "created");
  BOOST_TEST(client.start("two")["message"].get<std::string>().starts_with(
      "error running startContainer hook #0: ran longer than its timeout of 1 s"));
  client.event();
}

BOOST_AUTO_TEST_CASE(a_variable_of_the_environment_is_set_once) {
  Json config = machine.config({"env"});
  config["process"]["env"] = {"HOME=", "PATH=/bin", "A=1", "HOME=", "A=2"};
  BOOST_TEST(client.run("env", config).out == "HOME=/root\nPATH=/bin\nA=2\n");
}

BOOST_AUTO_TEST_SUITE_END()
