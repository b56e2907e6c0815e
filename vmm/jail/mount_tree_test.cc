// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/mount_tree.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/subprocess.h"

using namespace nacre;
using namespace nacre::vmm;

namespace {

// statvfs(3) does not name it.
constexpr unsigned long kNoSymFollow = 0x2000;

// A directory of the host with what a share may hold.
struct Host {
  Host() {
    char name[] = "/tmp/nacre-mount-tree-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(name) != nullptr);
    top = name;
    for (const char* directory : {"base", "source", "source/below", "outside"}) {
      std::filesystem::create_directory(top + "/" + directory);
    }
    std::ofstream(top + "/source/file") << "text";
    std::filesystem::create_symlink("file", top + "/source/link");
  }
  ~Host() { std::filesystem::remove_all(top); }
  std::string top;
};

// Runs `check` in a process whose root is the mount tree of `config`, and returns what `check` finds, or the error of
// enter_mount_tree().
std::string in_tree(const Config& config, const std::function<std::string(const MountTree&)>& check) {
  Pipe pipe = make_pipe().value();
  pid_t child = ::fork();
  if (child == 0) {
    auto tree = enter_mount_tree(config);
    std::string found = tree ? check(*tree) : tree.error().message();
    (void)write_all(pipe.write.get(), found);
    ::_exit(0);
  }
  BOOST_REQUIRE(child > 0);
  pipe.write.reset();
  std::string found = read_fd(pipe.read.get()).value();
  BOOST_TEST(wait_for(child).value().status == 0);
  return found;
}

boost::test_tools::assertion_result may_mount(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result root(::geteuid() == 0);
  root.message() << "mounts are made by root alone";
  return root;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mount_tree, *boost::unit_test::precondition(may_mount))

BOOST_AUTO_TEST_CASE(nothing_of_a_share_runs_or_leads_on_the_host) {
  Host host;
  Config config;
  config.fs.push_back({.tag = "share",
                       .path = host.top + "/base",
                       .mounts = {{.source = host.top + "/source", .target = "tree"},
                                  {.source = host.top + "/source/file", .target = "file", .readonly = true}}});
  std::string found = in_tree(config, [](const MountTree& tree) {
    std::string text;
    for (const char* path : {".", "tree", "file"}) {
      struct statvfs status;
      Fd place = open_at(tree.fs_roots[0].get(), path, O_PATH).value();
      if (::fstatvfs(place.get(), &status) < 0) return std::string("fstatvfs");
      constexpr unsigned long kAll = ST_NOSUID | ST_NODEV | ST_NOEXEC | kNoSymFollow;
      text += std::string(path) + ((status.f_flag & kAll) == kAll ? " closed" : " open");
      text += (status.f_flag & ST_RDONLY) != 0 ? " ro\n" : " rw\n";
    }
    auto followed = open_at(tree.fs_roots[0].get(), "tree/link", O_RDONLY);
    text += followed ? "followed\n" : strerrorname_np(followed.error().code());
    // As the file server opens files again.
    Fd file = open_at(tree.fs_roots[0].get(), "tree/file", O_PATH).value();
    auto again = open_at(tree.proc_self_fd.get(), std::to_string(file.get()), O_RDWR);
    return text + " " + (again ? read_fd(again->get()).value() : again.error().message());
  });
  BOOST_TEST(found == ". closed rw\ntree closed rw\nfile closed ro\nELOOP text");
}

BOOST_AUTO_TEST_CASE(a_link_in_a_share_leads_nowhere_while_mounts_are_attached) {
  Host host;
  std::filesystem::create_symlink(host.top + "/outside", host.top + "/base/away");
  std::filesystem::create_symlink("..", host.top + "/base/up");
  std::filesystem::create_symlink(host.top + "/outside/made", host.top + "/base/file");
  for (const char* target : {"away/tree", "away", "up/outside/tree", "file"}) {
    for (const char* source : {"/source", "/source/file"}) {
      Config config;
      config.fs.push_back(
          {.tag = "share", .path = host.top + "/base", .mounts = {{.source = host.top + source, .target = target}}});
      BOOST_TEST(in_tree(config, [](const MountTree&) { return std::string("attached"); }) != "attached");
      BOOST_TEST(std::filesystem::is_empty(host.top + "/outside"), target);
    }
  }
  // A place that is not there yet is made.
  Config config;
  config.fs.push_back({.tag = "share",
                       .path = host.top + "/base",
                       .mounts = {{.source = host.top + "/source", .target = "new/tree"},
                                  {.source = host.top + "/source/file", .target = "new/tree/below/file"}}});
  BOOST_TEST(in_tree(config, [](const MountTree& tree) {
               Fd file = open_at(tree.fs_roots[0].get(), "new/tree/below/file", O_PATH).value();
               auto again = open_at(tree.proc_self_fd.get(), std::to_string(file.get()), O_RDONLY);
               return again ? read_fd(again->get()).value() : again.error().message();
             }) == "text");
}

BOOST_AUTO_TEST_SUITE_END()
