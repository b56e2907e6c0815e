// SPDX-License-Identifier: Apache-2.0
// The whole of guest-init but its boot: containers made and run through the protocol.
#define BOOST_TEST_MODULE guest_server
#define BOOST_TEST_NO_MAIN
#define BOOST_TEST_ALTERNATIVE_INIT_API
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

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
  std::filesystem::create_directories(machine.rootfs() + machine.directory());
  std::filesystem::create_directory(machine.directory() + "/outside");
  Json config = machine.config(
      shell("echo here > /up/outside/file; cat " + machine.directory() + "/outside/file; ls -d /up/new"));
  config["mounts"].push_back({{"type", "tmpfs"}, {"source", "tmpfs"}, {"destination", "/up/outside"}});
  config["mounts"].push_back({{"type", "tmpfs"}, {"source", "tmpfs"}, {"destination", "/up/new"}});
  auto outcome = client.run("links", config);
  BOOST_TEST(outcome.exited["status"] == 0);
  BOOST_TEST(outcome.out == "here\n/up/new\n");
  BOOST_TEST(std::filesystem::is_empty(machine.directory() + "/outside"));
  BOOST_TEST(!std::filesystem::exists(machine.directory() + "/new"));
}

// As runc does since 1.4 (opencontainers/runc, issue 5090); before, it made the target.
BOOST_AUTO_TEST_CASE(a_symbolic_link_that_leads_to_nothing_is_no_mount_point) {
  std::filesystem::create_symlink("/made", machine.rootfs() + "/dangling");
  *replace_file(machine.directory() + "/single", "single\n", 0644);
  auto message = [&](const char* destination, const std::string& source) {
    Json config = machine.config({"true"});
    config["mounts"].push_back({{"type", source.empty() ? "tmpfs" : "bind"},
                                {"source", source},
                                {"destination", destination},
                                {"options", Json::array({source.empty() ? "nosuid" : "bind"})}});
    return message_of(config);
  };
  for (const auto& [place, source] : {std::pair("/dangling", ""), {"/dangling/deep", ""}, {"/dangling", "/single"}}) {
    std::string error = message(place, *source == 0 ? "" : machine.directory() + source);
    BOOST_TEST(error.contains("/dangling: a symbolic link that leads to nothing"), error);
  }
  BOOST_TEST(!std::filesystem::exists(machine.rootfs() + "/made"));
}

BOOST_AUTO_TEST_CASE(errors_name_the_step_and_leave_nothing) {
  BOOST_TEST(message_of(machine.config({"nothing"})) == "exec: \"nothing\": executable file not found in $PATH");
  BOOST_TEST(message_of(machine.config({"/no/thing"})) ==
             "exec: \"/no/thing\": stat /no/thing: no such file or directory");
  BOOST_TEST(message_of(machine.config({"/etc/passwd"})) == "exec: \"/etc/passwd\": permission denied");
  BOOST_TEST(message_of(machine.config({"/etc"})) == "exec: \"/etc\": is a directory: permission denied");
  Json config = machine.config({"true"});
  config["mounts"][1]["type"] = "nosuchfs";
  BOOST_TEST(message_of(config) == "mount nosuchfs on /dev: file system nosuchfs: no such device");
  config = machine.config({"true"});
  config["mounts"][1]["options"] = {"size=huge"};
  BOOST_TEST(message_of(config).starts_with("mount tmpfs on /dev: option size=huge: "));
  config = machine.config({"true"});
  config["root"]["path"] = "/no/root";
  BOOST_TEST(message_of(config).starts_with("root file system: "));
  config = machine.config({"true"});
  config["linux"]["maskedPaths"] = {"/no/thing", "/etc/passwd/x"};  // as runc: the first is nothing to hide
  BOOST_TEST(message_of(config) == "mask /etc/passwd/x: open /etc/passwd/x: not a directory");
  config["linux"]["maskedPaths"] = nullptr;
  config["linux"]["readonlyPaths"] = {"/no/thing", "/etc/passwd/x"};
  BOOST_TEST(message_of(config) == "make /etc/passwd/x read-only: open /etc/passwd/x: not a directory");
  config["linux"]["readonlyPaths"] = nullptr;
  config["linux"]["sysctl"]["no.such"] = "1";
  BOOST_TEST(message_of(config).starts_with("sysctl no/such: "));
  config["linux"]["sysctl"] = nullptr;
  config["linux"]["resources"]["unified"]["cgroup.nothing"] = "1";
  BOOST_TEST(message_of(config) ==
             "error setting cgroup config for procHooks process: unified resource \"cgroup.nothing\" can't be set: "
             "controller \"cgroup\" not available");
  config = machine.config({"true"});
  config["process"]["terminal"] = true;
  config["mounts"] = Json::array();
  BOOST_TEST(message_of(config) == "terminal: open /dev/pts/ptmx: no such file or directory");
}

// runc 1.5 refuses it (libcontainer/rootfs_linux.go, maskPaths and readonlyPaths); elsewhere links are followed.
BOOST_AUTO_TEST_CASE(links_below_proc_and_sys_are_neither_masked_nor_made_read_only) {
  for (const char* path : {"/proc/mounts", "/proc/net/dev", "/proc/./thread-self"}) {
    Json config = machine.config({"true"});
    config["linux"]["maskedPaths"] = {path};
    BOOST_TEST(message_of(config) == "mask " + std::string(path) + ": a symbolic link is on the way");
    config = machine.config({"true"});
    config["linux"]["readonlyPaths"] = {path};
    BOOST_TEST(message_of(config) == "make " + std::string(path) + " read-only: a symbolic link is on the way");
  }
  std::filesystem::create_symlink("etc/passwd", machine.rootfs() + "/users");
  Json config = machine.config(shell("wc -c < /etc/passwd; wc -c < /proc/version"));
  config["linux"]["maskedPaths"] = {"/users", "/proc//version"};
  BOOST_TEST(client.run("masked", config).out == "0\n0\n");
}

BOOST_AUTO_TEST_CASE(a_tmpfs_without_a_mode_has_that_of_what_it_covers_as_an_option) {
  std::filesystem::create_directory(machine.rootfs() + "/private");
  std::filesystem::permissions(machine.rootfs() + "/private", std::filesystem::perms(0710));
  Json config = machine.config(
      shell("stat -c %a /private /new; grep -E ' /(private|new) ' /proc/mounts | grep -o 'mode=[0-9]*'"));
  config["mounts"].push_back({{"type", "tmpfs"}, {"destination", "/private"}});
  config["mounts"].push_back({{"type", "tmpfs"}, {"destination", "/new"}, {"options", {"mode=2770"}}});
  auto outcome = client.run("modes", config);
  BOOST_TEST(outcome.out == "710\n2770\nmode=710\nmode=2770\n");
  BOOST_TEST(outcome.err == "");
}

BOOST_AUTO_TEST_CASE(ids_of_what_lies_in_the_root_are_mapped) {
  Json config = machine.config(shell("stat -c '%n %u %g' /etc/passwd /mapped/passwd"));
  config["linux"]["readonlyPaths"] = Json::array();
  config["mounts"].push_back({{"type", "tmpfs"}, {"destination", "/etc"}, {"options", {"tmpcopyup"}}});
  config["mounts"].push_back({{"type", "bind"},
                              {"source", "root:/etc"},
                              {"destination", "/mapped"},
                              {"options", {"bind"}},
                              {"uidMappings", {{{"containerID", 0}, {"hostID", 1000}, {"size", 10}}}},
                              {"gidMappings", {{{"containerID", 0}, {"hostID", 2000}, {"size", 10}}}}});
  auto outcome = client.run("mapped", config);
  BOOST_TEST(outcome.out == "/etc/passwd 0 0\n/mapped/passwd 1000 2000\n");
  BOOST_TEST(outcome.err == "");
}

// runtime-spec 1.2, "Linux mount options": what begins with an "r" is for the mounts below too.
BOOST_AUTO_TEST_CASE(options_of_the_whole_tree_hold_for_the_mounts_below) {
  for (auto [options, shown] :
       {std::pair("rnoatime", "rw,noatime"), std::pair("rstrictatime", "rw"),
        std::pair("rnodiratime", "rw,nodiratime,relatime"), std::pair("rnosuid", "rw,nosuid,relatime"),
        std::pair("rnoatime,rrelatime", "rw,relatime"), std::pair("rnoatime,rnostrictatime", "rw,relatime"),
        std::pair("rnoatime,ratime,rro", "ro,relatime")}) {
    Json config = machine.config(shell("grep -E '^[^ ]* /copy(/sub)? ' /proc/self/mounts"));
    for (const char* path : {"/up", "/up/sub"}) {
      config["mounts"].push_back({{"type", "tmpfs"}, {"source", "t"}, {"destination", path}, {"options", {"size=1m"}}});
    }
    Json list = {"rbind"};
    std::string words = options;
    for (size_t at = 0; at <= words.size();) {
      size_t comma = std::min(words.find(',', at), words.size());
      list.push_back(words.substr(at, comma - at));
      at = comma + 1;
    }
    config["mounts"].push_back({{"type", "bind"}, {"source", "root:/up"}, {"destination", "/copy"}, {"options", list}});
    auto outcome = client.run("deep", config);
    for (const char* path : {"/copy", "/copy/sub"}) {
      std::string expected = std::string("t ") + path + " tmpfs " + shown + ",";
      BOOST_TEST(outcome.out.contains(expected), options << ": " << outcome.out);
    }
    BOOST_TEST(outcome.err == "");
  }
}

BOOST_AUTO_TEST_CASE(a_devices_path_may_end_in_a_slash) {
  Json config = machine.config(shell("stat -c '%n %t %T' /dev/one /dev/deep/two"));
  config["linux"]["devices"] = {{{"path", "/dev/one/"}, {"type", "c"}, {"major", 1}, {"minor", 3}},
                                {{"path", "/dev//deep/./two//"}, {"type", "c"}, {"major", 1}, {"minor", 5}}};
  auto outcome = client.run("slash", config);
  BOOST_TEST(outcome.out == "/dev/one 1 3\n/dev/deep/two 1 5\n");
}

BOOST_AUTO_TEST_CASE(a_tmpfs_starts_with_what_it_covers) {
  Json config =
      machine.config(shell("ls /etc | grep passwd; stat -c %a /etc; echo new >> /etc/passwd; tail -n 1 /etc/passwd"));
  config["linux"]["readonlyPaths"] = Json::array();
  config["mounts"].push_back({{"type", "tmpfs"}, {"destination", "/etc"}, {"options", {"tmpcopyup"}}});
  auto outcome = client.run("copy", config);
  BOOST_TEST(outcome.err == "");
  BOOST_TEST(outcome.out == "passwd\n755\nnew\n");
  BOOST_TEST(outcome.exited["status"] == 0);
}

BOOST_AUTO_TEST_CASE(proc_is_no_place_for_other_mounts) {
  Json config = machine.config({"true"});
  Json bind = {{"type", "bind"}, {"source", "/etc"}, {"destination", "/proc/self"}, {"options", {"bind"}}};
  config["mounts"].push_back(bind);
  BOOST_TEST(message_of(config).contains("cannot be mounted because it is inside /proc"));
  config["mounts"].back()["destination"] = "/proc";
  BOOST_TEST(message_of(config).contains("\"/proc\" cannot be mounted because it is not of type proc"));
}

BOOST_AUTO_TEST_CASE(a_program_that_cannot_run_says_so_in_its_output) {
  auto outcome = client.run("broken", machine.config({"/bin/broken"}));
  BOOST_TEST(outcome.err == "exec /bin/broken: exec format error\n");
  BOOST_TEST(outcome.exited["status"] == 1);
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

  // A first process that has no handler yet would ignore it.
  Json created = client.create("trap", machine.config(shell("trap 'exit 5' TERM; sleep 1000 & echo set; wait")), false);
  Fd out = machine.connect(created["streams"]["stdout"]);
  client.start("trap");
  BOOST_TEST(read_until(out.get(), "\n") == "set\n");
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

BOOST_AUTO_TEST_CASE(many_containers_side_by_side) {
  // The threads only collect: Boost.Test's checks are for one thread.
  std::vector<std::string> out(20);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < out.size(); i++) {
    threads.emplace_back([&, i] {
      Client own(machine);
      out[i] = own.run("c" + std::to_string(i), machine.config({"echo", std::to_string(i)})).out;
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < out.size(); i++) {
    BOOST_TEST(out[i] == std::to_string(i) + "\n");
    BOOST_TEST(!machine.has_cgroup("c" + std::to_string(i)));
  }
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
