// SPDX-License-Identifier: Apache-2.0
// Tests the session with single requests: what each request answers, and what it does to the files of the host.
#define BOOST_TEST_MODULE fs
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "devices/virtio/fs/testing/fs_guest.h"

namespace nacre::virtio::fs::fs_test {
namespace {

using wire::Opcode;

struct Share {
  ScratchDirectory directory;
  FsGuest guest{directory.path()};

  std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  void put(const std::string& name, const std::string& text) { std::ofstream(path(name)) << text; }
  std::string get(const std::string& name) {
    std::ifstream file(path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  wire::EntryOut lookup(const std::string& name, uint64_t parent = 1) {
    auto answer = guest.call(Opcode::lookup, parent, string_bytes(name));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::EntryOut>();
  }
};

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

BOOST_AUTO_TEST_CASE(reads_a_file_of_the_host) {
  Share share;
  share.put("hello", "hello, guest");
  auto entry = share.lookup("hello");
  BOOST_TEST(entry.attr.size == 12u);
  BOOST_TEST((entry.attr.mode & S_IFMT) == S_IFREG);
  auto open =
      share.guest.call(Opcode::open, entry.nodeid, object_bytes(wire::OpenIn{.flags = O_RDONLY, .open_flags = 0}));
  BOOST_REQUIRE_EQUAL(open.error, 0);
  wire::ReadIn in{};
  in.fh = open.as<wire::OpenOut>().fh;
  in.offset = 7;
  in.size = 4096;
  auto read = share.guest.call(Opcode::read, entry.nodeid, object_bytes(in));
  BOOST_TEST(read.error == 0);
  BOOST_TEST(text_of(read.body) == "guest");
  auto release =
      share.guest.call(Opcode::release, entry.nodeid,
                       object_bytes(wire::ReleaseIn{.fh = in.fh, .flags = 0, .release_flags = 0, .lock_owner = 0}));
  BOOST_TEST(release.error == 0);
  BOOST_TEST(share.guest.handle_count() == 0u);
}

BOOST_AUTO_TEST_CASE(creates_and_writes) {
  Share share;
  wire::CreateIn in{.flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0666, .umask = 027, .open_flags = 0};
  share.guest.uid = 1234;
  share.guest.gid = 4321;
  auto created = share.guest.call(Opcode::create, 1, object_bytes(in) + string_bytes("new"));
  BOOST_REQUIRE_EQUAL(created.error, 0);
  auto out = created.as<wire::CreateOut>();
  BOOST_TEST(out.entry.attr.uid == 1234u);
  BOOST_TEST(out.entry.attr.gid == 4321u);
  BOOST_TEST((out.entry.attr.mode & 07777) == 0640u);
  wire::WriteIn write{};
  write.fh = out.open.fh;
  write.size = 100000;
  Bytes data(100000, std::byte{'x'});
  auto written = share.guest.call(Opcode::write, out.entry.nodeid, object_bytes(write) + data);
  BOOST_TEST(written.error == 0);
  BOOST_TEST(written.as<wire::WriteOut>().size == 100000u);
  BOOST_TEST(share.get("new") == std::string(100000, 'x'));
}

BOOST_AUTO_TEST_CASE(negotiates_what_both_know) {
  Share share;
  FsGuest guest(share.directory.path(), {}, std::nullopt);
  wire::InitIn in{.major = 7, .minor = 41, .max_readahead = 1 << 17, .flags = ~0u};
  wire::InitInExt more{};
  more.flags2 = ~0u;
  auto answer = guest.call(Opcode::init, 0, object_bytes(in) + object_bytes(more));
  BOOST_REQUIRE_EQUAL(answer.error, 0);
  auto out = answer.as<wire::InitOut>();
  BOOST_TEST(out.major == 7u);
  BOOST_TEST(out.minor == 41u);
  BOOST_TEST(out.max_write == 1u << 20);
  BOOST_TEST(out.max_pages == 256u);
  uint64_t flags = out.flags | uint64_t{out.flags2} << 32;
  uint64_t wanted = wire::kInitDoReaddirplus | wire::kInitHandleKillprivV2 | wire::kInitPosixLocks |
                    wire::kInitFlockLocks | wire::kInitPosixAcl | wire::kInitAtomicOTrunc | wire::kInitDontMask;
  BOOST_TEST((flags & wanted) == wanted);
  BOOST_TEST((flags & (uint64_t{1} << 16)) == 0u);  // no WRITEBACK_CACHE
  // If a guest offers no flags, it gets none.
  in.flags = 0;
  BOOST_TEST(guest.call(Opcode::init, 0, object_bytes(in)).as<wire::InitOut>().flags == 0u);
}

BOOST_AUTO_TEST_CASE(negative_entries) {
  Share share;
  auto none = share.lookup("none");
  BOOST_TEST(none.nodeid == 0u);
  BOOST_TEST(none.entry_valid == 1u);
  share.put("none", "x");
  BOOST_TEST(share.lookup("none").nodeid != 0u);
  SessionOptions options;
  options.negative_timeout = {};
  options.attr_timeout = std::chrono::milliseconds(1500);
  FsGuest strict(share.directory.path(), options);
  BOOST_TEST(strict.call(Opcode::lookup, 1, string_bytes("nothing")).error == ENOENT);
  auto out = strict.call(Opcode::getattr, 1, object_bytes(wire::GetattrIn{})).as<wire::AttrOut>();
  BOOST_TEST(out.attr_valid == 1u);
  BOOST_TEST(out.attr_valid_nsec == 500000000u);
}

BOOST_AUTO_TEST_CASE(one_inode_for_all_names) {
  Share share;
  share.put("file", "x");
  BOOST_REQUIRE_EQUAL(::link(share.path("file").c_str(), share.path("other").c_str()), 0);
  BOOST_TEST(share.lookup("file").nodeid == share.lookup("other").nodeid);
  BOOST_TEST(share.guest.inode_count() == 2u);
}

// A file that changed a moment ago may change again and keep its times, so the guest must not keep its pages.
BOOST_AUTO_TEST_CASE(cached_pages_of_fresh_files) {
  Share share;
  share.put("file", "x");
  auto nodeid = share.lookup("file").nodeid;
  auto open_flags = [&] {
    auto answer = share.guest.call(Opcode::open, nodeid, object_bytes(wire::OpenIn{O_RDONLY, 0}));
    return answer.as<wire::OpenOut>().open_flags;
  };
  timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  ::utimensat(AT_FDCWD, share.path("file").c_str(), now, 0);
  uint32_t fresh = open_flags();
  timespec old[2] = {{1000, 0}, {1000, 0}};
  ::utimensat(AT_FDCWD, share.path("file").c_str(), old, 0);
  BOOST_TEST(open_flags() == wire::kOpenedKeepCache);
  BOOST_TEST((fresh == 0u || fresh == wire::kOpenedKeepCache));  // on a slow machine, the file may no longer be fresh
}

BOOST_AUTO_TEST_CASE(extended_stat) {
  Share share;
  share.put("file", "12345");
  auto nodeid = share.lookup("file").nodeid;
  auto answer = share.guest.call(Opcode::statx, nodeid, object_bytes(wire::StatxIn{}));
  BOOST_REQUIRE_EQUAL(answer.error, 0);
  auto seen = answer.as<wire::StatxOut>().stat;
  struct statx expected{};
  BOOST_REQUIRE_EQUAL(::statx(AT_FDCWD, share.path("file").c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &expected), 0);
  BOOST_TEST(seen.mask == (expected.stx_mask & (STATX_BASIC_STATS | STATX_BTIME)));
  BOOST_TEST(seen.size == 5u);
  BOOST_TEST(seen.ino == expected.stx_ino);
  BOOST_TEST(seen.mode == expected.stx_mode);
  BOOST_TEST(seen.btime.seconds == expected.stx_btime.tv_sec);
  BOOST_TEST(seen.btime.nanoseconds == expected.stx_btime.tv_nsec);
  BOOST_TEST(seen.mtime.nanoseconds == expected.stx_mtime.tv_nsec);
}

BOOST_AUTO_TEST_CASE(access_by_mode_bits) {
  Share share;
  share.put("file", "x");
  ::chmod(share.path("file").c_str(), 0640);
  BOOST_REQUIRE_EQUAL(::chown(share.path("file").c_str(), 1000, 2000), 0);
  auto nodeid = share.lookup("file").nodeid;
  auto access = [&](uint32_t uid, uint32_t gid, uint32_t mask) {
    share.guest.uid = uid;
    share.guest.gid = gid;
    return share.guest.call(Opcode::access, nodeid, object_bytes(wire::AccessIn{mask, 0})).error;
  };
  BOOST_TEST(access(1000, 1, R_OK | W_OK) == 0);
  BOOST_TEST(access(1000, 1, X_OK) == EACCES);
  BOOST_TEST(access(1, 2000, R_OK) == 0);
  BOOST_TEST(access(1, 2000, W_OK) == EACCES);
  BOOST_TEST(access(1, 1, R_OK) == EACCES);
  BOOST_TEST(access(1, 1, F_OK) == 0);
  BOOST_TEST(access(0, 0, R_OK | W_OK) == 0);
  BOOST_TEST(access(0, 0, X_OK) == EACCES);
  BOOST_TEST(access(0, 0, 64) == EINVAL);
}

BOOST_AUTO_TEST_CASE(directories_are_synced) {
  Share share;
  auto opened = share.guest.call(Opcode::opendir, 1, object_bytes(wire::OpenIn{})).as<wire::OpenOut>();
  for (uint32_t flags : {0u, 1u}) {
    auto answer = share.guest.call(Opcode::fsyncdir, 1, object_bytes(wire::FsyncIn{opened.fh, flags, 0}));
    BOOST_TEST(answer.error == 0);
  }
  BOOST_TEST(share.guest.call(Opcode::syncfs, 1, object_bytes(wire::SyncfsIn{0})).error == 0);
}

BOOST_AUTO_TEST_CASE(cached_pages_are_written_where_they_belong) {
  Share share;
  share.put("file", "0123456789");
  auto nodeid = share.lookup("file").nodeid;
  auto opened = share.guest.call(Opcode::open, nodeid, object_bytes(wire::OpenIn{O_RDWR | O_APPEND, 0}));
  wire::WriteIn in{};
  in.fh = opened.as<wire::OpenOut>().fh;
  in.size = 1;
  in.flags = O_RDWR | O_APPEND;
  in.write_flags = wire::kWriteCache;
  in.offset = 3;
  BOOST_TEST(share.guest.call(Opcode::write, nodeid, object_bytes(in) + Bytes(1, std::byte{'x'})).error == 0);
  in.write_flags = 0;
  BOOST_TEST(share.guest.call(Opcode::write, nodeid, object_bytes(in) + Bytes(1, std::byte{'y'})).error == 0);
  BOOST_TEST(share.get("file") == "012x456789y");
}

BOOST_AUTO_TEST_CASE(set_gid_goes_with_a_foreign_access_list) {
  const std::string acl("\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
                        28);
  Share share;
  share.put("file", "x");
  auto nodeid = share.lookup("file").nodeid;
  for (uint32_t kill : {0u, wire::kSetxattrAclKillSgid}) {
    ::chmod(share.path("file").c_str(), 02755);
    wire::SetxattrIn in{.size = 28, .flags = 0, .setxattr_flags = kill, .padding = 0};
    auto value = std::as_bytes(std::span(acl));
    auto answer = share.guest.call(
        Opcode::setxattr, nodeid,
        object_bytes(in) + string_bytes("system.posix_acl_access") + Bytes(value.begin(), value.end()));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    struct stat stat{};
    ::stat(share.path("file").c_str(), &stat);
    BOOST_TEST((stat.st_mode & S_ISGID) == (kill != 0 ? 0u : unsigned{S_ISGID}));
  }
}

BOOST_AUTO_TEST_CASE(somebody_was_faster) {
  Share share;
  share.put("there", "content");
  auto create = [&](uint32_t flags) {
    wire::CreateIn in{.flags = flags, .mode = 0600, .umask = 0, .open_flags = 0};
    return share.guest.call(Opcode::create, 1, object_bytes(in) + string_bytes("there"));
  };
  BOOST_TEST(create(O_RDWR | O_CREAT | O_EXCL).error == EEXIST);
  auto kept = create(O_RDWR | O_CREAT);
  BOOST_REQUIRE_EQUAL(kept.error, 0);
  BOOST_TEST(kept.as<wire::CreateOut>().entry.attr.size == 7u);
  auto emptied = create(O_RDWR | O_CREAT | O_TRUNC);
  BOOST_TEST(emptied.as<wire::CreateOut>().entry.attr.size == 0u);
  BOOST_TEST(emptied.as<wire::CreateOut>().entry.nodeid == kept.as<wire::CreateOut>().entry.nodeid);
}

BOOST_AUTO_TEST_CASE(whiteouts_belong_to_the_caller) {
  Share share;
  share.put("file", "x");
  share.guest.uid = 1000;
  share.guest.gid = 1001;
  auto answer = share.guest.call(
      Opcode::rename2, 1,
      object_bytes(wire::Rename2In{1, RENAME_WHITEOUT, 0}) + string_bytes("file") + string_bytes("moved"));
  BOOST_REQUIRE_EQUAL(answer.error, 0);
  struct stat stat{};
  BOOST_REQUIRE_EQUAL(::lstat(share.path("file").c_str(), &stat), 0);
  BOOST_TEST(S_ISCHR(stat.st_mode));
  BOOST_TEST(stat.st_rdev == 0u);
  BOOST_TEST(stat.st_uid == 1000u);
}

BOOST_AUTO_TEST_CASE(file_system_statistics) {
  ScratchDirectory shared;
  FsGuest guest(shared.path());
  auto answer = guest.call(wire::Opcode::statfs, 1);
  BOOST_REQUIRE_EQUAL(answer.error, 0);
  auto seen = answer.as<wire::StatfsOut>();
  struct statfs expected{};
  BOOST_REQUIRE_EQUAL(::statfs(shared.path().c_str(), &expected), 0);
  BOOST_TEST(seen.blocks == expected.f_blocks);
  BOOST_TEST(seen.bsize == static_cast<uint64_t>(expected.f_bsize));
  BOOST_TEST(seen.frsize == static_cast<uint64_t>(expected.f_frsize));
  BOOST_TEST(seen.files == expected.f_files);
  BOOST_TEST(seen.namelen == 255u);
}

}  // namespace
}  // namespace nacre::virtio::fs::fs_test
