// SPDX-License-Identifier: Apache-2.0
// Compares modes, owners, times and extended attributes with those on a plain directory.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "devices/virtio/fs/testing/fs_compare.h"

namespace nacre::virtio::fs {
namespace {

BOOST_AUTO_TEST_SUITE(compare_attributes_with_host)

BOOST_AUTO_TEST_CASE(modes_and_owners) {
  compare([](Script& s) {
    s.file("file", "x");
    for (mode_t mode : {0000, 0777, 04755, 02755, 01644, 06755, 07777, 02644}) {
      s.number("chmod", s->chmod("file", mode));
      s.mode("file");
      s.number("chown", s->chown("file", 1000, UINT32_MAX));  // clears the set-id bits
      s.mode("file");
    }
    s.number("group", s->chown("file", UINT32_MAX, 77));
    s.number("both", s->chown("file", 8, 9));
    s.number("mkdir", s->mkdir("directory", 0755));
    s.number("chmod", s->chmod("directory", 07777));
    s.number("chown keeps a directory's bits", s->chown("directory", 5, 5));
    s.number("of nothing", s->chmod("none", 0));
  });
}

// Checks that files lose their set-id bits and capabilities if the host's kernel would clear them (CVE-2021-20263).
void killing_privileges(uint32_t uid) {
  compare([uid](Script& s) {
    // VFS_CAP_REVISION_2 with CAP_NET_RAW permitted.
    const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                                 20);
    s->become(0, 0, 0);
    // 02666 is left out. FUSE clears a set-gid bit only if the group may execute the file (linux/fuse.h,
    // HANDLE_KILLPRIV_V2). Recent kernels clear the bit on a local file system also if the writer is not in the group.
    for (mode_t mode : {06777, 04666, 02676, 01666}) {
      for (const char* how : {"write", "truncate", "open", "ftruncate", "fallocate", "append"}) {
        std::string name = std::string(how) + std::to_string(mode);
        s.file(name, "content", 0666);
        s.number("setxattr", s->setxattr(name, "security.capability", capability, 0));
        s.number("chmod", s->chmod(name, mode));
      }
      s->become(uid, uid, 0);
      std::string suffix = std::to_string(mode);
      int64_t fd = s.done("open", s->open("write" + suffix, O_WRONLY));
      s.number("write", s->write(fd, "y", 0));
      s.number("close", s->close(fd));
      s.number("truncate", s->truncate("truncate" + suffix, 3));
      s.number("open", s->close(s->open("open" + suffix, O_WRONLY | O_TRUNC)));
      fd = s.done("open", s->open("ftruncate" + suffix, O_WRONLY));
      s.number("ftruncate", s->ftruncate(fd, 2));
      s.number("close", s->close(fd));
      fd = s.done("open", s->open("fallocate" + suffix, O_WRONLY));
      s.number("fallocate", s->fallocate(fd, 0, 0, 100));
      s.number("close", s->close(fd));
      fd = s.done("open", s->open("append" + suffix, O_WRONLY | O_APPEND));
      s.number("write", s->write(fd, "y", 0));
      s.number("close", s->close(fd));
      s->become(0, 0, 0);
    }
  });
}

BOOST_AUTO_TEST_CASE(others_changes_kill_privileges) {
  killing_privileges(1000);
}

BOOST_AUTO_TEST_CASE(roots_changes_kill_capabilities_only) {
  killing_privileges(0);
}

BOOST_AUTO_TEST_CASE(chown_kills_privileges) {
  compare([](Script& s) {
    const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                                 20);
    s.file("file", "x");
    s.number("setxattr", s->setxattr("file", "security.capability", capability, 0));
    s.text("getxattr", s->getxattr("file", "security.capability", 100));
    s.number("chmod", s->chmod("file", 06755));
    s.number("chown", s->chown("file", 0, 0));
    s.text("getxattr", s->getxattr("file", "security.capability", 100));
  });
}

BOOST_AUTO_TEST_CASE(times) {
  ScratchDirectory shared;
  FsGuest guest(shared.path());
  GuestCalls calls(guest);
  BOOST_REQUIRE_EQUAL(calls.close(calls.open("file", O_CREAT | O_WRONLY, 0644)), 0);
  struct stat stat{};
  auto look = [&] { BOOST_REQUIRE_EQUAL(::lstat((shared.path() + "/file").c_str(), &stat), 0); };

  timespec both[2] = {{1'000'000'000, 123456789}, {-5, 999999999}};
  BOOST_TEST(calls.utimens("file", both) == 0);
  look();
  BOOST_TEST(stat.st_atim.tv_sec == 1'000'000'000);
  BOOST_TEST(stat.st_atim.tv_nsec == 123456789);
  BOOST_TEST(stat.st_mtim.tv_sec == -5);
  BOOST_TEST(static_cast<int64_t>(calls.attributes("file").mtime) == -5);

  timespec one[2] = {{0, UTIME_OMIT}, {77, 5}};
  BOOST_TEST(calls.utimens("file", one) == 0);
  look();
  BOOST_TEST(stat.st_atim.tv_sec == 1'000'000'000);
  BOOST_TEST(stat.st_mtim.tv_sec == 77);
  BOOST_TEST(stat.st_mtim.tv_nsec == 5);

  timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  BOOST_TEST(calls.utimens("file", now) == 0);
  look();
  BOOST_TEST(std::abs(stat.st_mtim.tv_sec - ::time(nullptr)) < 5);
  BOOST_TEST(stat.st_atim.tv_sec == stat.st_mtim.tv_sec);
  check_attributes(calls, shared.path());
}

BOOST_AUTO_TEST_CASE(extended_attributes) {
  compare([](Script& s) {
    s.file("file", "x");
    s.number("set", s->setxattr("file", "user.one", "first", 0));
    s.number("create taken", s->setxattr("file", "user.one", "second", XATTR_CREATE));
    s.number("replace nothing", s->setxattr("file", "user.two", "second", XATTR_REPLACE));
    s.number("replace", s->setxattr("file", "user.one", "second", XATTR_REPLACE));
    s.number("empty", s->setxattr("file", "user.empty", "", 0));
    s.text("get", s->getxattr("file", "user.one", 100));
    s.text("size", s->getxattr("file", "user.one", 0));
    s.text("too small", s->getxattr("file", "user.one", 3));
    s.text("none", s->getxattr("file", "user.none", 100));
    s.text("list", s->listxattr("file", 100));
    s.text("list size", s->listxattr("file", 0));
    s.text("list too small", s->listxattr("file", 3));
    s.number("unknown flag", s->setxattr("file", "user.x", "v", 16));
    s.number("no such space", s->setxattr("file", "nothing.x", "v", 0));
    s.number("remove", s->removexattr("file", "user.one"));
    s.number("remove again", s->removexattr("file", "user.one"));
    s.number("mkdir", s->mkdir("directory", 0755));
    s.number("on a directory", s->setxattr("directory", "user.d", "v", 0));
    s.number("symlink", s->symlink("file", "link"));
    s.number("on a symlink", s->setxattr("link", "user.l", "v", 0));
    s.text("of a symlink", s->listxattr("link", 100));
    s.number("too large", s->setxattr("file", "user.large", std::string(65537, 'v'), 0));
    s.text("no access list", s->getxattr("file", "system.posix_acl_access", 100));
  });
}

BOOST_AUTO_TEST_CASE(access_lists) {
  // Version 2; user::rwx, user:1000:r--, group::r-x, mask::r-x, other::--- (linux/posix_acl_xattr.h).
  const std::string acl(
      "\x02\0\0\0"
      "\x01\0\x07\0\xff\xff\xff\xff"
      "\x02\0\x04\0\xe8\x03\0\0"
      "\x04\0\x05\0\xff\xff\xff\xff"
      "\x10\0\x05\0\xff\xff\xff\xff"
      "\x20\0\0\0\xff\xff\xff\xff",
      44);
  compare([&](Script& s) {
    s.file("file", "x", 0644);
    s.number("set", s->setxattr("file", "system.posix_acl_access", acl, 0));
    s.text("get", s->getxattr("file", "system.posix_acl_access", 100));
    s.mode("file");
    s.number("mkdir", s->mkdir("directory", 0777));
    s.number("set default", s->setxattr("directory", "system.posix_acl_default", acl, 0));
    s->become(0, 0, 077);  // a default access list overrides the umask
    s.file("directory/file", "x", 0666);
    s.number("mkdir", s->mkdir("directory/below", 0777));
    s.number("set default of a file", s->setxattr("file", "system.posix_acl_default", acl, 0));
    s.number("remove", s->removexattr("file", "system.posix_acl_access"));
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs
