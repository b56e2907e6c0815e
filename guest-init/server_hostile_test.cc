// SPDX-License-Identifier: Apache-2.0
// Images and neighbours that lie: what other runtimes had to mend. The CVE of each is runc's, but for where it says
// otherwise.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;
namespace fs = std::filesystem;

namespace {

// Exchanges two names of a directory for as long as it lives, as a neighbour does that shares a volume.
class Swapper {
 public:
  Swapper(std::string one, std::string other)
      : thread_([this, one, other] {
          while (!stop_) ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
        }) {}
  ~Swapper() {
    stop_ = true;
    thread_.join();
  }
  Swapper(const Swapper&) = delete;
  Swapper& operator=(const Swapper&) = delete;

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

constexpr int kRaces = 40;  // containers that are made while names are exchanged

struct HostileFixture : Fixture {
  // Adds a mount to a configuration, or puts it in the place of the one that has the same destination.
  static void mount(Json& config, const char* type, const std::string& source, const std::string& destination) {
    without_mount(config, destination);
    config["mounts"].push_back({{"type", type}, {"source", source}, {"destination", destination}});
    if (std::string_view(type) == "bind") config["mounts"].back()["options"] = {"bind"};
  }
  static void without_mount(Json& config, const std::string& destination) {
    auto& mounts = config["mounts"];
    for (size_t i = 0; i < mounts.size(); i++) {
      if (mounts[i]["destination"] == destination) mounts.erase(i--);
    }
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(hostile, HostileFixture)

// CVE-2024-21626: a descriptor of the runtime's that led out of the root.
BOOST_AUTO_TEST_CASE(no_working_directory_leads_out_of_the_root) {
  BOOST_REQUIRE_EQUAL(client.create("one", machine.config({"sleep", "1000"}))["type"], "created");
  client.start("one");
  for (int number = 0; number < 64; number++) {
    std::string path = "/proc/self/fd/" + std::to_string(number);
    Json process = TestMachine::process({"true"});
    for (const char* below : {"", "/..", "/../../.."}) {
      process["cwd"] = path + below;
      Json reply = client.exec("one", "bad", process);
      BOOST_TEST(reply["type"] == "error", path + below);
      BOOST_TEST(reply.value("message", "").starts_with("chdir to cwd (\"" + path), reply);
    }
    fs::remove(machine.rootfs() + "/way");
    fs::create_symlink(path, machine.rootfs() + "/way");
    process["cwd"] = "/way";
    BOOST_TEST(client.exec("one", "bad", process)["type"] == "error");
    if (number % 8 != 0) continue;  // a whole container each
    for (const std::string& cwd : {path, std::string("/way")}) {
      Json config = machine.config({"true"});
      config["process"]["cwd"] = cwd;
      BOOST_TEST(message_of(config).starts_with("make cwd: "));
    }
  }
}

// CVE-2016-9962, CVE-2024-21626: processes and hooks have no descriptor but their own, whatever guest-init has open.
BOOST_AUTO_TEST_CASE(processes_have_their_own_descriptors_only) {
  // Streams of another container, and of this one.
  BOOST_REQUIRE_EQUAL(client.create("other", machine.config({"sleep", "1000"}), true)["type"], "created");
  // Not what the shell has open for this very list.
  const char* kList = "for fd in /proc/self/fd/*; do if [ -e $fd ]; then echo -n \"${fd##*/} \"; fi; done";
  Json config = machine.config(shell(std::string("cat /tmp/hook; ") + kList + "; sleep 1000"));
  config["hooks"]["startContainer"] = {
      {{"path", "/bin/sh"}, {"args", {"sh", "-c", std::string("(") + kList + ") > /tmp/hook"}}}};
  mount(config, "tmpfs", "tmpfs", "/tmp");
  Json created = client.create("one", config);
  BOOST_REQUIRE_EQUAL(created["type"], "created");
  Fd out = machine.connect(created["streams"]["stdout"]);
  BOOST_TEST(client.start("one")["type"] == "ok");
  BOOST_TEST(read_until(out.get(), "0 1 2 0 1 2 ").starts_with("0 1 2 0 1 2 "));
  Json reply = client.exec("one", "look", TestMachine::process(shell(kList)));
  BOOST_REQUIRE_EQUAL(reply["type"], "created");
  Fd looked = machine.connect(reply["streams"]["stdout"]);
  client.ask({{"type", "release"}, {"container", "one"}, {"exec", "look"}});
  BOOST_TEST(read_to_end(looked.get()) == "0 1 2 ");
}

// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: a link in the place of /proc or /sys.
BOOST_AUTO_TEST_CASE(proc_and_sys_are_mounted_on_directories) {
  fs::create_directory(machine.rootfs() + "/elsewhere");
  for (const std::string name : {"proc", "sys"}) {
    std::string place = machine.rootfs() + "/" + name;
    fs::remove(place);
    fs::create_symlink("elsewhere", place);
    BOOST_TEST(message_of(machine.config({"true"})).ends_with("must be mounted on ordinary directory"));
    fs::remove(place);
    fs::create_directory(place);
  }
}

// A neighbour puts a link in the place of /proc while the container is made.
BOOST_AUTO_TEST_CASE(proc_is_not_mounted_through_a_link_that_comes_meanwhile) {
  fs::create_directory(machine.rootfs() + "/elsewhere");
  fs::create_symlink("elsewhere", machine.rootfs() + "/link");
  Json config = machine.config({"/bin/busybox", "cat", "/elsewhere/version"});
  config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = Json::array();
  Swapper swapper(machine.rootfs() + "/proc", machine.rootfs() + "/link");
  for (int i = 0; i < kRaces; i++) {
    auto outcome = client.run("race", config);
    BOOST_TEST(!outcome.out.contains("Linux version"), outcome.out);
    if (outcome.exited["type"] != "error") continue;
    BOOST_TEST(outcome.exited["message"].get<std::string>().contains("must be mounted on ordinary directory"),
               outcome.exited);
  }
}

// CVE-2019-16884, CVE-2025-52881: what is at /proc is the kernel's.
BOOST_AUTO_TEST_CASE(no_other_file_system_is_mounted_on_proc) {
  for (const char* place : {"/proc", "/proc/self/attr", "/proc/sys/kernel", "/way/sys"}) {
    if (std::string_view(place) == "/way/sys") fs::create_directory_symlink("proc", machine.rootfs() + "/way");
    Json config = machine.config({"true"});
    // As a second mount, if the place is there only in the first.
    config["mounts"].push_back({{"type", "tmpfs"}, {"source", "tmpfs"}, {"destination", place}});
    BOOST_TEST(message_of(config).contains("cannot be mounted because it is "), place);
  }
}

// CVE-2025-52881: sysctls and the like go to the kernel, whatever the image has in the place of its files.
BOOST_AUTO_TEST_CASE(sysctls_do_not_go_to_the_image) {
  std::string fake = machine.rootfs() + "/proc/sys/net/ipv4";
  fs::create_directories(fake);
  BOOST_REQUIRE(replace_file(fake + "/ip_forward", "fake", 0644));
  Json config = machine.config(shell("cat /kernel/sys/net/ipv4/ip_forward"));
  without_mount(config, "/proc");
  mount(config, "proc", "proc", "/kernel");
  config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = Json::array();
  config["linux"]["sysctl"]["net.ipv4.ip_forward"] = "1";
  auto outcome = client.run("sysctl", config);
  BOOST_TEST(outcome.out == "1\n");
  BOOST_TEST(*read_file(fake + "/ip_forward") == "fake");
}

// CVE-2025-31133: a link in the place of the image's /dev/null, which covers files that are to be hidden.
BOOST_AUTO_TEST_CASE(files_are_not_hidden_by_what_the_image_has_as_dev_null) {
  fs::create_symlink("/etc/passwd", machine.rootfs() + "/dev/null");
  BOOST_REQUIRE(replace_file(machine.rootfs() + "/hidden", "hidden\n", 0644));
  Json config =
      machine.config(shell("cat /hidden; echo x > /hidden; stat -c '%F %t:%T' /hidden; ls -l /etc/passwd | wc -l"));
  for (const char* place : {"/dev/shm", "/dev/pts", "/dev/mqueue", "/dev"}) without_mount(config, place);
  config["linux"]["maskedPaths"] = {"/hidden"};
  std::string before = *read_file(machine.rootfs() + "/etc/passwd");
  BOOST_TEST(client.run("null", config).out == "character special file 1:3\n1\n");
  BOOST_TEST(*read_file(machine.rootfs() + "/etc/passwd") == before);
}

// CVE-2025-52565: a link in the place of /dev/console, over whose target the terminal was mounted.
BOOST_AUTO_TEST_CASE(the_console_is_not_mounted_over_what_a_link_leads_to) {
  fs::create_symlink("/etc/passwd", machine.rootfs() + "/dev/console");
  Json config = machine.config({"true"});
  config["process"]["terminal"] = true;
  without_mount(config, "/dev");
  BOOST_TEST(message_of(config) == "/dev/console: a symbolic link, which could lead anywhere");
}

// guest-init reads /etc/passwd only if that is a file: a FIFO or a device may have no end.
BOOST_AUTO_TEST_CASE(the_file_of_users_can_be_anything) {
  std::string users = machine.rootfs() + "/etc/passwd";
  Json config = machine.config(shell("echo $HOME"));
  for (const char* what : {"fifo", "/dev/zero", "/dev/tty", "/proc/self/fd/0", "/", "nowhere"}) {
    fs::remove(users);
    if (std::string_view(what) == "fifo") {
      BOOST_REQUIRE_EQUAL(::mkfifo(users.c_str(), 0666), 0);
    } else {
      fs::create_symlink(what, users);
    }
    BOOST_TEST(client.run("users", config).out == "/\n", what);
  }
}

// CVE-2021-30465, CVE-2024-45310: a directory of a shared volume that a neighbour exchanges for a link, while mount
// points are made below it.
BOOST_AUTO_TEST_CASE(mount_points_in_a_shared_volume_stay_in_the_root) {
  std::string volume = machine.directory() + "/volume", outside = machine.directory() + "/outside";
  fs::create_directories(volume + "/place");
  fs::create_directories(outside);
  fs::create_directories(machine.rootfs() + outside);  // what the link leads to inside
  fs::create_symlink(outside, volume + "/link");
  fs::create_symlink("../../../../../../../.." + outside, volume + "/up");
  BOOST_REQUIRE(replace_file(machine.directory() + "/file", "file\n", 0644));
  Json config = machine.config({"true"});
  mount(config, "bind", volume, "/volume");
  for (int i = 0; i < 8; i++) {
    std::string place = "/volume/place/" + std::to_string(i);
    mount(config, "tmpfs", "tmpfs", place + "/directory");
    mount(config, "bind", machine.directory() + "/file", place + "/file");
  }
  {
    Swapper swapper(volume + "/place", volume + "/link"), climber(volume + "/link", volume + "/up");
    for (int i = 0; i < kRaces; i++) client.run("race", config);
  }
  BOOST_TEST(fs::is_empty(outside));
  BOOST_TEST(*read_file(machine.directory() + "/file") == "file\n");
  // The race took place: mount points were made on both sides of the exchange.
  BOOST_TEST(!fs::is_empty(machine.rootfs() + outside));
}

BOOST_AUTO_TEST_SUITE_END()
