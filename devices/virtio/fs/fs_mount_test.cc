// SPDX-License-Identifier: Apache-2.0
// Tests shares that hold other mounts, as the tree of a container does: volumes, and bind mounts of single files.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <latch>
#include <set>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs::fs_mount_test {
namespace {

using wire::Opcode;

// What the mounts of vmm's jail are like: the server needs neither programs nor links of the host.
constexpr unsigned long kAsInJail = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW;

// A share with mounts below it, in a mount namespace of its own. The thread of the session enters this namespace later.
struct Mounts {
  Mounts() {
    for (const char* name :
         {"share", "share/volume", "share/again", "share/readonly", "share/plain", "share/proc", "host"}) {
      std::filesystem::create_directory(top.path() + "/" + name);
    }
    std::ofstream(top.path() + "/share/file") << "mount point";
    std::ofstream(top.path() + "/host/hosts") << "127.0.0.1";
    // The namespace and its mounts live as long as the thread.
    holder_ = std::jthread([this] {
      mount_all();
      mounted_.count_down();
      done_.wait();
    });
    mounted_.wait();
  }
  ~Mounts() { done_.count_down(); }
  void mount_all() {
    std::string share = top.path() + "/share";
    auto bind = [&](const std::string& from, const std::string& to, unsigned long flags) {
      return ::mount((top.path() + from).c_str(), (share + to).c_str(), nullptr, MS_BIND | flags, nullptr) == 0;
    };
    ready = ::unshare(CLONE_FS) == 0 && ::unshare(CLONE_NEWNS) == 0 &&
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
            ::mount("tmpfs", (share + "/volume").c_str(), "tmpfs", kAsInJail, "size=1m") == 0;
    if (!ready) return;
    std::ofstream(share + "/volume/data") << "data";
    ready = bind("/share/volume", "/again", 0) && bind("/share/volume", "/readonly", 0) &&
            bind("/share/volume", "/readonly", MS_REMOUNT | MS_RDONLY) && bind("/host/hosts", "/file", 0) &&
            ::mount("/proc", (share + "/proc").c_str(), nullptr, MS_BIND, nullptr) == 0;
    root = Fd(::open(share.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    name_space = Fd(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(root.get()); }

  ScratchDirectory top;
  Fd root, name_space;
  bool ready = false;

 private:
  std::latch mounted_{1}, done_{1};
  std::jthread holder_;
};

// What a mount that is noexec and nosymfollow must not change for the guest.
void check_links_and_modes(FsGuest& guest, GuestCalls& calls) {
  BOOST_TEST(calls.symlink("data", "volume/link") == 0);
  BOOST_TEST(calls.readlink("volume/link") == "data");
  BOOST_TEST(calls.chown("volume/link", 5, 6) == 0);
  BOOST_TEST(calls.link("volume/data", "volume/second") == 0);
  BOOST_TEST(calls.chmod("volume/second", 0755) == 0);
  BOOST_TEST(calls.truncate("volume/second", 2) == 0);
  BOOST_TEST(calls.listxattr("volume/second", 100).find("error") == std::string::npos);
  wire::AccessIn execute{.mask = X_OK, .padding = 0};
  auto second = static_cast<uint64_t>(calls.node("volume/second"));
  BOOST_TEST(guest.call(Opcode::access, second, object_bytes(execute)).error == 0);
  BOOST_TEST(calls.unlink("volume/second") == 0);
  BOOST_TEST(calls.unlink("volume/link") == 0);
}

BOOST_AUTO_TEST_SUITE(mounts)

BOOST_AUTO_TEST_CASE(below_a_share) {
  Mounts mounts;
  if (!mounts.ready) {
    BOOST_TEST_MESSAGE("skipped: may not mount here");
    return;
  }
  FsGuest guest(mounts.path());
  guest.on_thread([&](Session& session) {
    BOOST_REQUIRE_EQUAL(::setns(mounts.name_space.get(), CLONE_NEWNS), 0);
    BOOST_REQUIRE(session.enter_thread().has_value());
  });
  GuestCalls calls(guest);

  // Inode numbers of different file systems do not collide.
  std::set<uint64_t> numbers;
  for (const char* name : {".", "volume", "plain", "file", "volume/data"}) {
    BOOST_TEST(numbers.insert(calls.attributes(name).ino).second, name);
  }
  // One file seen through two mounts has one inode number, but each mount has its own rules.
  BOOST_TEST(calls.attributes("again/data").ino == calls.attributes("volume/data").ino);
  BOOST_TEST(calls.node("again/data") != calls.node("volume/data"));
  BOOST_TEST(calls.open("readonly/data", O_RDWR, 0) == -EROFS);
  BOOST_TEST(calls.chmod("readonly/data", 0600) == -EROFS);
  BOOST_TEST(calls.utimens("readonly/data", {{1, 1}, {1, 1}}) == -EROFS);
  BOOST_TEST(calls.setxattr("readonly/data", "user.x", "v", 0) == -EROFS);
  BOOST_TEST(calls.unlink("readonly/data") == -EROFS);
  BOOST_TEST(calls.link("readonly/data", "volume/x") == -EXDEV);
  int64_t fd = calls.open("volume/data", O_RDWR, 0);
  BOOST_TEST(calls.write(fd, "DATA", 0) == 4);
  int64_t same = calls.open("readonly/data", O_RDONLY, 0);
  BOOST_TEST(calls.read(same, 10, 0) == "DATA");

  check_links_and_modes(guest, calls);

  // "file" is a mount of a single file.
  int64_t file = calls.open("file", O_RDWR, 0);
  BOOST_TEST(calls.read(file, 100, 0) == "127.0.0.1");
  BOOST_TEST(calls.unlink("file") == -EBUSY);
  BOOST_TEST(calls.rename("file", "other", 0) == -EBUSY);
  BOOST_TEST(calls.rmdir("volume") == -EBUSY);
  BOOST_TEST(calls.rename("plain", "volume/plain", 0) == -EXDEV);
  BOOST_TEST(calls.link("volume/data", "linked") == -EXDEV);
  BOOST_TEST(calls.list("volume").size() == 3u);
  BOOST_TEST(calls.list(".").size() == 8u);
  BOOST_TEST(guest.call(Opcode::syncfs, 1, object_bytes(wire::SyncfsIn{0})).error == 0);

  // The server's own memory is a file there.
  BOOST_TEST(guest.call(Opcode::lookup, 1, string_bytes("proc")).error == EACCES);

  // ".." is no name that can be looked up, neither in the share's root nor in a mount.
  for (const char* directory : {".", "volume"}) {
    auto nodeid = static_cast<uint64_t>(calls.node(directory));
    BOOST_TEST(guest.call(Opcode::lookup, nodeid, string_bytes("..")).error == EINVAL);
  }
}

BOOST_AUTO_TEST_CASE(no_proc_of_the_host_is_served) {
  ScratchDirectory top;
  FsGuest guest(top.path());
  guest.on_thread([&](Session& session) {
    BOOST_TEST(session.add_tree("tree", Fd(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC))).has_value());
    BOOST_TEST(session.add_tree("file", Fd(::open("/proc/self/mem", O_PATH | O_CLOEXEC))).has_value());
  });
  for (const char* name : {"tree", "file"}) {
    BOOST_TEST(guest.call(Opcode::lookup, 1, string_bytes(name)).error == EACCES);
  }
  auto created = Session::create(Fd(::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)), {}, {});
  BOOST_REQUIRE(!created);
  BOOST_TEST(created.error().message() == "the host's /proc cannot be shared");
}

BOOST_AUTO_TEST_CASE(a_tree_comes_and_goes) {
  ScratchDirectory top, other;
  std::ofstream(top.path() + "/data") << "the share's";
  std::ofstream(other.path() + "/data") << "the tree's";
  std::filesystem::create_directory(other.path() + "/below");
  FsGuest guest(top.path());
  auto add = [&](Fd root) {
    Result<void> added;
    guest.on_thread([&](Session& session) { added = session.add_tree("tree", std::move(root)); });
    return added;
  };
  GuestCalls calls(guest);
  BOOST_REQUIRE(add(other.open()));
  BOOST_TEST(add(other.open()).error().code() == EEXIST);

  BOOST_TEST(calls.list(".").size() == 3u);  // ".", ".." and "data"
  int64_t file = calls.open("tree/data", O_RDWR, 0);
  BOOST_TEST(calls.read(file, 100, 0) == "the tree's");
  int64_t made = calls.open("tree/below/made", O_WRONLY | O_CREAT, 0600);
  BOOST_TEST(calls.write(made, "made", 0) == 4);
  auto nodeid = static_cast<uint64_t>(calls.node("tree/below"));
  size_t held = 0, open = 0;
  guest.on_thread([&](Session& session) {
    held = session.inode_count();
    open = session.handle_count();
    session.remove_tree("tree");
    session.remove_tree("tree");
    BOOST_TEST(session.inode_count() < held);
    BOOST_TEST(session.handle_count() == open - 2);
  });

  BOOST_TEST(calls.read(file, 100, 0) == error_text(EBADF));
  BOOST_TEST(guest.call(Opcode::lookup, nodeid, string_bytes("made")).error == ENOENT);
  BOOST_TEST(calls.open("tree/data", O_RDONLY, 0) == -ENOENT);
  int64_t own = calls.open("data", O_RDONLY, 0);
  BOOST_TEST(calls.read(own, 100, 0) == "the share's");
  BOOST_REQUIRE(add(other.open()));
  int64_t again = calls.open("tree/below/made", O_RDONLY, 0);
  BOOST_TEST(calls.read(again, 100, 0) == "made");
}

// Opens a file, forgets its inode and returns the handle. Linux forgets no inode of an open file, but a guest may.
uint64_t open_and_forget(FsGuest& guest, uint64_t parent, const char* name, uint64_t* lock_owner = nullptr) {
  auto file = guest.call(Opcode::lookup, parent, string_bytes(name)).as<wire::EntryOut>();
  wire::OpenIn in{.flags = O_RDWR, .open_flags = 0};
  auto open = guest.call(Opcode::open, file.nodeid, object_bytes(in)).as<wire::OpenOut>();
  if (lock_owner != nullptr) {
    wire::LockIn lock{};
    lock.fh = open.fh;
    lock.owner = *lock_owner;
    lock.lock = {.start = 0, .end = INT64_MAX, .type = F_WRLCK, .pid = 1};
    BOOST_TEST(guest.call(Opcode::setlk, file.nodeid, object_bytes(lock)).error == 0);
  }
  guest.call(Opcode::forget, file.nodeid, object_bytes(wire::ForgetIn{1}));
  BOOST_TEST(guest.call(Opcode::getattr, file.nodeid, object_bytes(wire::GetattrIn{})).error == ENOENT);
  return open.fh;
}

BOOST_AUTO_TEST_CASE(a_tree_takes_the_handles_of_forgotten_inodes_along) {
  ScratchDirectory top, other;
  std::ofstream(top.path() + "/data") << "the share's";
  std::ofstream(other.path() + "/data") << "the tree's";
  FsGuest guest(top.path());
  guest.on_thread([&](Session& session) { BOOST_REQUIRE(session.add_tree("tree", other.open())); });
  auto tree = guest.call(Opcode::lookup, 1, string_bytes("tree")).as<wire::EntryOut>();
  uint64_t fh = open_and_forget(guest, tree.nodeid, "data");
  uint64_t own = open_and_forget(guest, 1, "data");
  auto listing = guest.call(Opcode::opendir, tree.nodeid, object_bytes(wire::OpenIn{O_RDONLY, 0})).as<wire::OpenOut>();
  guest.call(Opcode::forget, tree.nodeid, object_bytes(wire::ForgetIn{1}));

  guest.on_thread([&](Session& session) { session.remove_tree("tree"); });
  BOOST_TEST(guest.handle_count() == 1u);
  wire::ReadIn read{};
  read.size = 100;
  for (uint64_t gone : {fh, listing.fh}) {
    read.fh = gone;
    BOOST_TEST(guest.call(Opcode::read, 1, object_bytes(read)).error == EBADF);
    BOOST_TEST(guest.call(Opcode::readdir, 1, object_bytes(read)).error == EBADF);
  }
  wire::WriteIn write{};
  write.fh = fh;
  write.size = 5;
  BOOST_TEST(guest.call(Opcode::write, 1, object_bytes(write) + Bytes(5, std::byte{'X'})).error == EBADF);
  read.fh = own;
  BOOST_TEST(guest.call(Opcode::read, 1, object_bytes(read)).body.size() == 11u);
}

BOOST_AUTO_TEST_CASE(a_tree_takes_the_locks_of_forgotten_inodes_along) {
  ScratchDirectory top, other;
  std::ofstream(other.path() + "/data") << "the tree's";
  FsGuest guest(top.path());
  guest.on_thread([&](Session& session) { BOOST_REQUIRE(session.add_tree("tree", other.open())); });
  auto tree = guest.call(Opcode::lookup, 1, string_bytes("tree")).as<wire::EntryOut>();
  uint64_t owner = 7;
  open_and_forget(guest, tree.nodeid, "data", &owner);
  Fd host(::open((other.path() + "/data").c_str(), O_RDWR));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  BOOST_TEST(::fcntl(host.get(), F_OFD_SETLK, &lock) == -1);
  guest.on_thread([&](Session& session) { session.remove_tree("tree"); });
  BOOST_TEST(::fcntl(host.get(), F_OFD_SETLK, &lock) == 0);
}

BOOST_AUTO_TEST_CASE(inode_numbers) {
  InodeNumbers numbers(5);
  BOOST_TEST(numbers.map(5, 1234) == 1234u);
  BOOST_TEST(numbers.map(5, (uint64_t{1} << 48) - 1) == (uint64_t{1} << 48) - 1);
  std::set<uint64_t> seen;
  for (uint64_t device = 1; device < 50; device++) {
    for (uint64_t inode : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 48 | 1, uint64_t{1} << 63 | 1, UINT64_MAX}) {
      BOOST_TEST(seen.insert(numbers.map(device, inode)).second);
    }
  }
  for (uint64_t device = 1; device < 50; device++) BOOST_TEST(seen.contains(numbers.map(device, 2)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs::fs_mount_test
