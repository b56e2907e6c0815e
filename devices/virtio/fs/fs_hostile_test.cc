// SPDX-License-Identifier: Apache-2.0
// Sends requests that no honest kernel sends. None may reach beyond the share, crash or hang the server, or keep the
// server from serving others.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <random>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs::fs_hostile_test {
namespace {

using wire::Opcode;

Bytes bytes(const std::string& text) {
  auto view = std::as_bytes(std::span(text));
  return Bytes(view.begin(), view.end());
}

// A share next to files that the guest must not see.
struct Share {
  Share() {
    std::filesystem::create_directory(outer.path() + "/share");
    std::filesystem::create_directory(outer.path() + "/share/inner");
    std::ofstream(outer.path() + "/secret") << "secret";
    std::ofstream(outer.path() + "/share/file") << "content";
    std::filesystem::create_symlink("../secret", outer.path() + "/share/escape");
    std::filesystem::create_directory_symlink("..", outer.path() + "/share/up");
  }
  std::string path(const std::string& name) const { return outer.path() + "/share/" + name; }
  bool alive() {
    auto answer = guest().call(Opcode::lookup, 1, string_bytes("file"));
    return answer.error == 0 && answer.as<wire::EntryOut>().attr.size == 7;
  }
  FsGuest& guest() {
    if (!guest_) guest_ = std::make_unique<FsGuest>(outer.path() + "/share");
    return *guest_;
  }
  wire::EntryOut lookup(const std::string& name, uint64_t parent = 1) {
    auto answer = guest().call(Opcode::lookup, parent, string_bytes(name));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::EntryOut>();
  }

  ScratchDirectory outer;
  std::unique_ptr<FsGuest> guest_;
};

const std::string kBadNames[] = {"..", ".", "../secret", "inner/..", "/", "/etc/passwd", "a/b", "file/"};

BOOST_FIXTURE_TEST_SUITE(hostile, Share)

BOOST_AUTO_TEST_CASE(names_that_are_paths) {
  uint64_t inner = lookup("inner").nodeid;
  for (const std::string& name : kBadNames) {
    Bytes bad = string_bytes(name);
    Bytes good = string_bytes("good");
    for (uint64_t parent : {uint64_t{1}, inner}) {
      auto refused = [&](Opcode opcode, const Bytes& body) {
        int error = guest().call(opcode, parent, body).error;
        BOOST_TEST(error == EINVAL, "opcode " << int(opcode) << " of " << name << ": " << error);
      };
      refused(Opcode::lookup, bad);
      refused(Opcode::unlink, bad);
      refused(Opcode::rmdir, bad);
      refused(Opcode::mkdir, object_bytes(wire::MkdirIn{.mode = 0755, .umask = 0}) + bad);
      refused(Opcode::mknod, object_bytes(wire::MknodIn{.mode = S_IFREG, .rdev = 0, .umask = 0, .padding = 0}) + bad);
      refused(Opcode::symlink, bad + good);
      refused(Opcode::rename, object_bytes(wire::RenameIn{1}) + bad + good);
      refused(Opcode::rename, object_bytes(wire::RenameIn{1}) + good + bad);
      refused(Opcode::rename2, object_bytes(wire::Rename2In{1, 0, 0}) + good + bad);
      refused(Opcode::link, object_bytes(wire::LinkIn{lookup("file").nodeid}) + bad);
      refused(Opcode::create, object_bytes(wire::CreateIn{O_RDWR, 0644, 0, 0}) + bad);
    }
  }
  BOOST_TEST(guest().call(Opcode::lookup, 1, bytes("no end")).error == EINVAL);
  BOOST_TEST(guest().call(Opcode::lookup, 1, string_bytes("")).error == ENOENT);
  BOOST_TEST(guest().call(Opcode::lookup, 1, string_bytes(std::string(256, 'x'))).error == ENAMETOOLONG);
  BOOST_TEST(guest().call(Opcode::lookup, 1, string_bytes(std::string(100000, 'x'))).error == ENAMETOOLONG);
  BOOST_TEST(
      guest().call(Opcode::rename, 1, object_bytes(wire::RenameIn{1}) + string_bytes("file") + bytes("x")).error ==
      EINVAL);
  BOOST_TEST(std::filesystem::exists(outer.path() + "/secret"));
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(symbolic_links_lead_nowhere) {
  auto escape = lookup("escape");
  BOOST_TEST((escape.attr.mode & S_IFMT) == S_IFLNK);
  uint64_t up = lookup("up").nodeid;
  BOOST_TEST(guest().call(Opcode::lookup, up, string_bytes("secret")).error == ENOTDIR);
  BOOST_TEST(guest().call(Opcode::open, escape.nodeid, object_bytes(wire::OpenIn{O_RDONLY, 0})).error == ELOOP);
  BOOST_TEST(guest().call(Opcode::opendir, up, object_bytes(wire::OpenIn{})).error == ENOTDIR);
  wire::CreateIn create{O_RDWR | O_TRUNC, 0644, 0, 0};
  BOOST_TEST(guest().call(Opcode::create, 1, object_bytes(create) + string_bytes("escape")).error == ELOOP);
  wire::SetattrIn chmod{};
  chmod.valid = wire::kSetMode;
  BOOST_TEST(guest().call(Opcode::setattr, escape.nodeid, object_bytes(chmod)).error == EOPNOTSUPP);
  wire::SetattrIn truncate{};
  truncate.valid = wire::kSetSize;
  BOOST_TEST(guest().call(Opcode::setattr, escape.nodeid, object_bytes(truncate)).error == EINVAL);
  BOOST_TEST(std::filesystem::file_size(outer.path() + "/secret") == 6u);
}

// The host replaces a directory by a symbolic link, again and again, while the guest looks up files in it.
BOOST_AUTO_TEST_CASE(swapped_directories) {
  std::ofstream(path("inner/secret")) << "own";
  std::atomic<bool> stop = false;
  std::jthread swapper([&] {
    std::string inner = path("inner"), kept = path("kept");
    while (!stop) {
      std::filesystem::rename(inner, kept);
      std::filesystem::create_directory_symlink("..", inner);
      std::filesystem::remove(inner);
      std::filesystem::rename(kept, inner);
    }
  });
  for (int i = 0; i < 3000; i++) {
    auto inner = guest().call(Opcode::lookup, 1, string_bytes("inner"));
    if (inner.error != 0 || inner.as<wire::EntryOut>().nodeid == 0) continue;
    auto found = guest().call(Opcode::lookup, inner.as<wire::EntryOut>().nodeid, string_bytes("secret"));
    if (found.error == 0 && found.as<wire::EntryOut>().nodeid != 0) {
      BOOST_REQUIRE_EQUAL(found.as<wire::EntryOut>().attr.size, 3u);
    }
  }
  stop = true;
}

BOOST_AUTO_TEST_CASE(special_files_are_not_opened) {
  BOOST_REQUIRE_EQUAL(::mkfifo(path("fifo").c_str(), 0666), 0);
  for (uint32_t flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
    BOOST_TEST(guest().call(Opcode::open, lookup("fifo").nodeid, object_bytes(wire::OpenIn{flags, 0})).error == ENXIO);
  }
  wire::CreateIn create{O_WRONLY, 0644, 0, 0};
  BOOST_TEST(guest().call(Opcode::create, 1, object_bytes(create) + string_bytes("fifo")).error == ENXIO);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(unknown_nodes_and_handles) {
  for (uint64_t bogus : {uint64_t{0}, uint64_t{2}, uint64_t{1} << 40, UINT64_MAX}) {
    BOOST_TEST(guest().call(Opcode::getattr, bogus, object_bytes(wire::GetattrIn{})).error == ENOENT);
    BOOST_TEST(guest().call(Opcode::lookup, bogus, string_bytes("file")).error == ENOENT);
    BOOST_TEST(guest().call(Opcode::open, bogus, object_bytes(wire::OpenIn{})).error == ENOENT);
    BOOST_TEST(
        guest()
            .call(Opcode::rename, 1, object_bytes(wire::RenameIn{bogus}) + string_bytes("file") + string_bytes("x"))
            .error == ENOENT);
    BOOST_TEST(guest().call(Opcode::link, 1, object_bytes(wire::LinkIn{bogus}) + string_bytes("x")).error == ENOENT);
    wire::ReadIn read{};
    read.fh = bogus;
    read.size = 100;
    BOOST_TEST(guest().call(Opcode::read, 1, object_bytes(read)).error == EBADF);
    BOOST_TEST(guest().call(Opcode::readdir, 1, object_bytes(read)).error == EBADF);
    BOOST_TEST(guest().call(Opcode::readdirplus, 1, object_bytes(read)).error == EBADF);
    BOOST_TEST(guest().call(Opcode::release, 1, object_bytes(wire::ReleaseIn{bogus, 0, 0, 0})).error == EBADF);
    BOOST_TEST(guest().call(Opcode::flush, 1, object_bytes(wire::FlushIn{bogus, 0, 0, 0})).error == EBADF);
    BOOST_TEST(guest().call(Opcode::fsync, 1, object_bytes(wire::FsyncIn{bogus, 0, 0})).error == EBADF);
    BOOST_TEST(guest()
                   .call(Opcode::setlk, 1,
                         object_bytes(wire::LockIn{.fh = bogus, .owner = 0, .lock = {}, .lk_flags = 0, .padding = 0}))
                   .error == EBADF);
    guest().call(Opcode::forget, bogus, object_bytes(wire::ForgetIn{UINT64_MAX}));
  }
  // A directory handle is no file handle.
  auto opened = guest().call(Opcode::opendir, 1, object_bytes(wire::OpenIn{})).as<wire::OpenOut>();
  wire::ReadIn read{};
  read.fh = opened.fh;
  read.size = 100;
  BOOST_TEST(guest().call(Opcode::read, 1, object_bytes(read)).error == EBADF);
  BOOST_TEST(guest().call(Opcode::release, 1, object_bytes(wire::ReleaseIn{opened.fh, 0, 0, 0})).error == EBADF);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(forgetting_too_much) {
  uint64_t file = lookup("file").nodeid;
  lookup("file");
  guest().call(Opcode::forget, file, object_bytes(wire::ForgetIn{1}));
  BOOST_TEST(guest().call(Opcode::getattr, file, object_bytes(wire::GetattrIn{})).error == 0);
  guest().call(Opcode::forget, file, object_bytes(wire::ForgetIn{UINT64_MAX}));
  BOOST_TEST(guest().call(Opcode::getattr, file, object_bytes(wire::GetattrIn{})).error == ENOENT);
  guest().call(Opcode::forget, 1, object_bytes(wire::ForgetIn{UINT64_MAX}));
  BOOST_TEST(lookup("file").nodeid != file);  // ids are not reused
  Bytes batch = object_bytes(wire::BatchForgetIn{.count = UINT32_MAX, .dummy = 0});
  for (uint64_t id = 0; id < 20; id++) batch = batch + object_bytes(wire::ForgetOne{id, UINT64_MAX});
  guest().call(Opcode::batch_forget, 0, batch);
  BOOST_TEST(guest().inode_count() == 1u);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(lookups_leak_nothing) {
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < 50; i++) lookup(i % 2 == 0 ? "file" : "inner");
    guest().call(Opcode::forget, lookup("file").nodeid, object_bytes(wire::ForgetIn{26}));
    guest().call(Opcode::forget, lookup("inner").nodeid, object_bytes(wire::ForgetIn{26}));
  }
  BOOST_TEST(guest().inode_count() == 1u);
  size_t open = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) open++;
  BOOST_TEST(open < 40u);
}

BOOST_AUTO_TEST_CASE(sizes_that_lie) {
  wire::InHeader header{.len = 0,
                        .opcode = uint32_t(Opcode::getattr),
                        .unique = 9,
                        .nodeid = 1,
                        .uid = 0,
                        .gid = 0,
                        .pid = 0,
                        .total_extlen = 0,
                        .padding = 0};
  const Bytes body = object_bytes(wire::GetattrIn{});
  for (uint32_t length : {0u, 1u, 39u, 40u, 55u, 57u, 1000u, 0x7fffffffu, 0xffffffffu}) {
    header.len = length;
    auto answer = guest().raw(object_bytes(header) + body, 4096);
    BOOST_REQUIRE(answer);
    BOOST_TEST(answer->error == EINVAL);
  }
  header.len = sizeof(header) + sizeof(wire::GetattrIn);
  for (uint16_t extensions : {1, 3, 0xffff}) {
    header.total_extlen = extensions;
    BOOST_TEST(guest().raw(object_bytes(header) + body, 4096)->error == EINVAL);
  }
  header.total_extlen = 0;
  // Truncated headers and requests without room for the answer get no reply.
  for (size_t size = 0; size < sizeof(header); size++) {
    Bytes cut = object_bytes(header);
    cut.resize(size);
    BOOST_TEST(!guest().raw(cut, 4096)->replied);
  }
  for (size_t room = 0; room < 16; room++) BOOST_TEST(!guest().raw(object_bytes(header) + body, room)->replied);
  for (size_t room = 16; room < 16 + sizeof(wire::AttrOut); room++) {
    BOOST_TEST(guest().raw(object_bytes(header) + body, room)->error == EINVAL);
  }
  BOOST_TEST(guest().raw(object_bytes(header) + body, 16 + sizeof(wire::AttrOut))->error == 0);
  // This request is larger than any but WRITE may be.
  header.len = sizeof(header) + (200 << 10);
  BOOST_TEST(guest().raw(object_bytes(header) + Bytes(200 << 10), 4096)->error == E2BIG);
  BOOST_TEST(alive());
}

// Sends every opcode with short bodies of many sizes, all zeroes or all ones.
BOOST_AUTO_TEST_CASE(every_opcode_with_nonsense) {
  for (uint32_t opcode = 0; opcode < 70; opcode++) {
    if (opcode == uint32_t(Opcode::init) || opcode == uint32_t(Opcode::destroy)) continue;
    for (uint64_t nodeid : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
      for (size_t size : {0, 1, 4, 7, 8, 16, 23, 24, 40, 56, 64, 88, 100, 300}) {
        guest().call(Opcode(opcode), nodeid, Bytes(size));
        guest().call(Opcode(opcode), nodeid, Bytes(size, std::byte{0xff}));
        guest().call(Opcode(opcode), nodeid, Bytes(size, std::byte{0xff}), 0);
      }
    }
  }
  for (uint32_t opcode : {uint32_t{4096}, uint32_t{1} << 20, uint32_t{436207616}, UINT32_MAX}) {
    BOOST_TEST(guest().call(Opcode(opcode), 1).error == ENOSYS);
  }
  BOOST_TEST(guest().call(Opcode::setupmapping, 1, Bytes(40)).error == ENOSYS);
  BOOST_TEST(guest().call(Opcode::ioctl, 1, Bytes(40)).error == ENOSYS);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(offsets_and_sizes_at_their_ends) {
  GuestCalls calls(guest());
  int64_t fd = calls.open("file", O_RDWR, 0);
  BOOST_REQUIRE(fd >= 0);
  uint64_t fh = 1;  // the first handle
  for (uint64_t offset : {uint64_t{1} << 63, UINT64_MAX, uint64_t{INT64_MAX}, uint64_t{INT64_MAX} - 4095}) {
    wire::ReadIn read{};
    read.fh = fh;
    read.offset = offset;
    read.size = UINT32_MAX;
    auto answer = guest().call(Opcode::read, 1, object_bytes(read), 1 << 20);
    BOOST_TEST((answer.error == EINVAL || answer.body.empty()));
    wire::WriteIn write{};
    write.fh = fh;
    write.offset = offset;
    write.size = 16;
    auto written = guest().call(Opcode::write, 1, object_bytes(write) + Bytes(16));
    BOOST_TEST((written.error == EINVAL || written.error == EFBIG));
    BOOST_TEST(guest().call(Opcode::fallocate, 1, object_bytes(wire::FallocateIn{fh, offset, offset, 0, 0})).error !=
               0);
    BOOST_TEST(guest().call(Opcode::lseek, 1, object_bytes(wire::LseekIn{fh, offset, SEEK_DATA, 0})).error != 0);
    BOOST_TEST(guest().call(Opcode::lseek, 1, object_bytes(wire::LseekIn{fh, offset, SEEK_SET, 0})).error == EINVAL);
    wire::CopyFileRangeIn copy{fh, offset, 1, fh, offset, UINT64_MAX, 0};
    guest().call(Opcode::copy_file_range, 1, object_bytes(copy));
    auto opened = guest().call(Opcode::opendir, 1, object_bytes(wire::OpenIn{})).as<wire::OpenOut>();
    wire::ReadIn list{};
    list.fh = opened.fh;
    list.offset = offset;
    list.size = UINT32_MAX;
    guest().call(Opcode::readdirplus, 1, object_bytes(list), 1 << 20);
    // A new handle is needed, since ext4 cannot seek back from some offsets.
    list.fh = guest().call(Opcode::opendir, 1, object_bytes(wire::OpenIn{})).as<wire::OpenOut>().fh;
    list.offset = 0;
    list.size = 0;
    BOOST_TEST(guest().call(Opcode::readdir, 1, object_bytes(list)).error == EINVAL);
  }
  // These requests want to write more than their data, or more than is allowed.
  wire::WriteIn write{};
  write.fh = fh;
  write.size = 100;
  BOOST_TEST(guest().call(Opcode::write, 1, object_bytes(write) + Bytes(99)).error == EINVAL);
  write.size = Session::kMaxWrite + 1;
  BOOST_TEST(guest().call(Opcode::write, 1, object_bytes(write) + Bytes(write.size)).error == EINVAL);
  write.size = UINT32_MAX;
  BOOST_TEST(guest().call(Opcode::write, 1, object_bytes(write)).error == EINVAL);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(nothing_before_init) {
  FsGuest fresh(path(""), {}, std::nullopt);
  BOOST_TEST(fresh.call(Opcode::getattr, 1, object_bytes(wire::GetattrIn{})).error == EIO);
  wire::InitIn old{.major = 7, .minor = 12, .max_readahead = 0, .flags = 0};
  BOOST_TEST(fresh.call(Opcode::init, 0, object_bytes(old)).error == EPROTO);
  wire::InitIn future{.major = 8, .minor = 0, .max_readahead = 0, .flags = 0};
  auto answer = fresh.call(Opcode::init, 0, object_bytes(future));
  BOOST_TEST(answer.error == 0);
  BOOST_TEST(answer.as<wire::InitOut>().major == 7u);
  BOOST_TEST(fresh.call(Opcode::getattr, 1, object_bytes(wire::GetattrIn{})).error == EIO);
  wire::InitIn now{.major = 7, .minor = 31, .max_readahead = 0, .flags = 0};
  BOOST_TEST(fresh.call(Opcode::init, 0, object_bytes(now)).as<wire::InitOut>().minor == 31u);
  BOOST_TEST(fresh.call(Opcode::getattr, 1, object_bytes(wire::GetattrIn{})).error == 0);
}

BOOST_AUTO_TEST_CASE(read_only_shares) {
  SessionOptions options;
  options.readonly = true;
  guest_ = std::make_unique<FsGuest>(path(""), options);
  GuestCalls calls(guest());
  BOOST_TEST(calls.mkdir("x", 0755) == -EROFS);
  BOOST_TEST(calls.mknod("x", S_IFIFO, 0) == -EROFS);
  BOOST_TEST(calls.symlink("x", "y") == -EROFS);
  BOOST_TEST(calls.link("file", "y") == -EROFS);
  BOOST_TEST(calls.unlink("file") == -EROFS);
  BOOST_TEST(calls.rmdir("inner") == -EROFS);
  BOOST_TEST(calls.rename("file", "y", 0) == -EROFS);
  BOOST_TEST(calls.rename("file", "inner", RENAME_EXCHANGE) == -EROFS);
  BOOST_TEST(calls.chmod("file", 0) == -EROFS);
  BOOST_TEST(calls.chown("file", 1, 1) == -EROFS);
  BOOST_TEST(calls.truncate("file", 0) == -EROFS);
  BOOST_TEST(calls.setxattr("file", "user.x", "v", 0) == -EROFS);
  BOOST_TEST(calls.removexattr("file", "user.x") == -EROFS);
  BOOST_TEST(calls.tmpfile(".", O_RDWR, 0600) == -EROFS);
  BOOST_TEST(calls.open("new", O_CREAT | O_RDWR, 0600) == -EROFS);
  for (int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) BOOST_TEST(calls.open("file", flags, 0) == -EROFS);
  int64_t fd = calls.open("file", O_RDONLY, 0);
  BOOST_TEST(calls.read(fd, 100, 0) == "content");
  BOOST_TEST(calls.write(fd, "x", 0) == -EROFS);
  BOOST_TEST(calls.fallocate(fd, 0, 0, 100) == -EROFS);
  BOOST_TEST(calls.ftruncate(fd, 0) == -EROFS);
  BOOST_TEST(calls.copy_range(fd, 0, fd, 100, 5) == -EROFS);
  BOOST_TEST(guest().call(Opcode::access, lookup("file").nodeid, object_bytes(wire::AccessIn{W_OK, 0})).error == EROFS);
  BOOST_TEST(alive());
}

BOOST_AUTO_TEST_CASE(attributes_of_the_hosts_own) {
  GuestCalls calls(guest());
  for (const char* name : {"trusted.overlay.opaque", "security.selinux", "security.ima"}) {
    BOOST_TEST(calls.setxattr("file", name, "y", 0) == -EPERM);
  }
  BOOST_TEST(calls.setxattr("file", "system.nfs4_acl", "y", 0) == -EOPNOTSUPP);
  BOOST_TEST(calls.getxattr("file", "trusted.overlay.opaque", 100) == "error ENODATA");
}

BOOST_AUTO_TEST_CASE(one_guest_gets_a_part_of_the_hosts_files) {
  guest();
  uint64_t files = 0;
  std::ifstream("/proc/sys/fs/file-max") >> files;
  BOOST_REQUIRE(files > 0);
  BOOST_TEST(FdBudget::limit() > 0u);
  BOOST_TEST(FdBudget::limit() <= files / 5);
  BOOST_TEST(FdBudget::limit() <= size_t{1} << 18);
}

BOOST_AUTO_TEST_CASE(descriptors_run_out) {
  guest();
  for (int i = 0; i < 100; i++) std::ofstream(path("many" + std::to_string(i)));
  size_t limit = FdBudget::limit();
  FdBudget::set_limit_for_test(FdBudget::used() + 50);
  int failed = 0;
  for (int i = 0; i < 100; i++) {
    int error = guest().call(Opcode::lookup, 1, string_bytes("many" + std::to_string(i))).error;
    BOOST_TEST((error == 0 || error == ENFILE));
    failed += error == ENFILE;
  }
  BOOST_TEST(failed == 50);
  // Known inodes go on working, but nothing new can be opened or made.
  BOOST_TEST(guest().call(Opcode::lookup, 1, string_bytes("many0")).error == 0);
  BOOST_TEST(guest().call(Opcode::open, lookup("many0").nodeid, object_bytes(wire::OpenIn{})).error == ENFILE);
  wire::CreateIn create{O_RDWR, 0644, 0, 0};
  BOOST_TEST(guest().call(Opcode::create, 1, object_bytes(create) + string_bytes("new")).error == ENFILE);
  BOOST_TEST(guest().call(Opcode::destroy, 0).error == 0);
  FdBudget::set_limit_for_test(limit);
  BOOST_TEST(guest().handle_count() == 0u);
  BOOST_TEST(guest().inode_count() == 1u);
}

// Sends random bytes after honest headers, mixed with numbers that mean something.
BOOST_AUTO_TEST_CASE(random_requests) {
  std::mt19937_64 random(20240229);
  const uint64_t numbers[] = {0, 1, 2, 3, 4, 5, 7, 8, 100, 4096, 1 << 20, UINT32_MAX, uint64_t{1} << 63, UINT64_MAX};
  for (int i = 0; i < 20000; i++) {
    auto opcode = static_cast<Opcode>(random() % 54);
    if (opcode == Opcode::destroy && random() % 50 != 0) continue;
    if (opcode == Opcode::syncfs || opcode == Opcode::fsync || opcode == Opcode::fsyncdir) continue;  // slow
    Bytes body(random() % 20 * 8);
    for (size_t at = 0; at + 8 <= body.size(); at += 8) {
      uint64_t value = random() % 3 == 0 ? random() : numbers[random() % std::size(numbers)];
      if (random() % 4 == 0) value = 0x656c6966;  // "file"
      std::memcpy(body.data() + at, &value, 8);
    }
    uint64_t length = 0;
    if (opcode == Opcode::fallocate && body.size() >= sizeof(wire::FallocateIn)) {
      std::memcpy(&length, body.data() + offsetof(wire::FallocateIn, length), 8);
      if (length > 1 << 20 && length <= INT64_MAX) continue;  // would fill the disk of the test
    }
    size_t room = random() % 10 == 0 ? random() % 200 : 8192;
    if (opcode == Opcode::setlkw) {
      guest().start(opcode, random() % 8, body, room);
    } else {
      guest().call(opcode, random() % 8, body, room);
    }
    if (opcode == Opcode::destroy) guest_.reset();
  }
  BOOST_TEST(std::filesystem::exists(outer.path() + "/secret"));
  BOOST_TEST(std::filesystem::file_size(outer.path() + "/secret") == 6u);
  size_t beside = 0;
  for ([[maybe_unused]] const auto& found : std::filesystem::directory_iterator(outer.path())) beside++;
  BOOST_TEST(beside == 2u);
}

// A request keeps the others waiting for as long as it takes, so its size is bounded.
BOOST_AUTO_TEST_CASE(what_one_request_may_move_is_bounded) {
  for (const char* name : {"big", "copy"}) {
    std::ofstream(path(name)) << "x";
    BOOST_REQUIRE_EQUAL(::truncate(path(name).c_str(), 4 << 20), 0);
  }
  auto open = [&](const char* name) {
    wire::OpenIn in{.flags = O_RDWR, .open_flags = 0};
    return guest().call(Opcode::open, lookup(name).nodeid, object_bytes(in)).as<wire::OpenOut>().fh;
  };
  wire::ReadIn read{};
  read.fh = open("big");
  read.size = 4 << 20;
  BOOST_TEST(guest().call(Opcode::read, 1, object_bytes(read), 4 << 20).body.size() == Session::kMaxWrite);
  wire::CopyFileRangeIn copy{};
  copy.fh_in = read.fh;
  copy.fh_out = open("copy");
  copy.len = 4 << 20;
  auto copied = guest().call(Opcode::copy_file_range, 1, object_bytes(copy));
  BOOST_TEST(copied.as<wire::WriteOut>().size == Session::kMaxWrite);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs::fs_hostile_test
