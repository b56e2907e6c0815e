// Every call against the same call on a plain directory: results, and what the trees look like afterwards.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "devices/virtio/fs/fs_calls.h"

namespace nacre::virtio::fs::fs_compare_test {
namespace {

using Log = std::vector<std::string>;

// What a process saw, call by call.
class Script {
 public:
  Script(Calls& calls, const std::string& directory) : calls_(calls), directory_(directory) {}

  Calls* operator->() { return &calls_; }
  int64_t number(const std::string& what, int64_t result) {
    log.push_back(what + " = " + (result < 0 ? error_text(static_cast<int>(-result)) : std::to_string(result)));
    return result;
  }
  // For descriptors, whose numbers differ.
  int64_t done(const std::string& what, int64_t result) {
    log.push_back(what + " = " + (result < 0 ? error_text(static_cast<int>(-result)) : "done"));
    return result;
  }
  void text(const std::string& what, const std::string& result) { log.push_back(what + " = " + result); }
  void names(const std::string& what, const std::vector<std::string>& result) {
    log.push_back(what);
    log.insert(log.end(), result.begin(), result.end());
  }
  // Writes and closes.
  void file(const std::string& path, const std::string& content, mode_t mode = 0644) {
    int64_t fd = done("create " + path, calls_.open(path, O_CREAT | O_WRONLY | O_EXCL, mode));
    number("write " + path, calls_.write(fd, content, 0));
    number("close " + path, calls_.close(fd));
  }
  // The mode as the host has it now.
  void mode(const std::string& path) {
    struct stat stat{};
    int result = ::lstat((directory_ + "/" + path).c_str(), &stat);
    log.push_back("mode of " + path + " " + std::to_string(result) + " " + std::to_string(stat.st_mode));
  }

  Log log;

 private:
  Calls& calls_;
  std::string directory_;
};

std::string xattrs_of(const std::string& path) {
  char names[4096];
  ssize_t size = ::llistxattr(path.c_str(), names, sizeof(names));
  std::vector<std::string> all;
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names + at)) + 1) {
    char value[4096];
    ssize_t length = ::lgetxattr(path.c_str(), names + at, value, sizeof(value));
    all.push_back(std::string(names + at) + "=" +
                  std::string(value, static_cast<size_t>(std::max<ssize_t>(length, 0))));
  }
  std::ranges::sort(all);
  std::string text;
  for (const auto& one : all) text += " " + one;
  return text;
}

// A tree as the host sees it; no times and inode numbers, which differ between two trees.
Log dump(const std::string& directory) {
  Log lines;
  auto describe = [&](const std::string& path) {
    struct stat stat{};
    BOOST_REQUIRE_EQUAL(::lstat(path.c_str(), &stat), 0);
    std::string line = path.substr(directory.size()) + " mode " + std::to_string(stat.st_mode) + " links " +
                       std::to_string(stat.st_nlink) + " owner " + std::to_string(stat.st_uid) + ":" +
                       std::to_string(stat.st_gid) + " rdev " + std::to_string(stat.st_rdev);
    if (!S_ISDIR(stat.st_mode)) line += " size " + std::to_string(stat.st_size);
    if (S_ISREG(stat.st_mode)) {
      std::ifstream file(path);
      std::string content{std::istreambuf_iterator<char>(file), {}};
      line += " content " + std::to_string(std::hash<std::string>()(content));
    }
    if (S_ISLNK(stat.st_mode)) line += " -> " + std::filesystem::read_symlink(path).string();
    lines.push_back(line + xattrs_of(path));
  };
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) describe(entry.path());
  describe(directory);
  std::ranges::sort(lines);
  return lines;
}

// What GETATTR says of a path is what the host's lstat says.
void check_attributes(GuestCalls& calls, const std::string& directory) {
  for (const auto& found : std::filesystem::recursive_directory_iterator(directory)) {
    std::string path = found.path().string().substr(directory.size() + 1);
    struct stat stat{};
    BOOST_REQUIRE_EQUAL(::lstat(found.path().c_str(), &stat), 0);
    wire::Attr attr = calls.attributes(path);
    BOOST_TEST(attr.ino == stat.st_ino, path);
    BOOST_TEST(attr.mode == stat.st_mode, path);
    BOOST_TEST(attr.size == static_cast<uint64_t>(stat.st_size), path);
    BOOST_TEST(attr.nlink == stat.st_nlink, path);
    BOOST_TEST(attr.uid == stat.st_uid, path);
    BOOST_TEST(attr.gid == stat.st_gid, path);
    BOOST_TEST(attr.rdev == encode_device(major(stat.st_rdev), minor(stat.st_rdev)), path);
    BOOST_TEST(attr.mtime == static_cast<uint64_t>(stat.st_mtim.tv_sec), path);
    BOOST_TEST(attr.mtimensec == static_cast<uint32_t>(stat.st_mtim.tv_nsec), path);
    BOOST_TEST(attr.atime == static_cast<uint64_t>(stat.st_atim.tv_sec), path);
    BOOST_TEST(attr.ctimensec == static_cast<uint32_t>(stat.st_ctim.tv_nsec), path);
    BOOST_TEST(attr.blocks == static_cast<uint64_t>(stat.st_blocks), path);
    BOOST_TEST(attr.blksize == static_cast<uint32_t>(stat.st_blksize), path);
  }
}

void compare(const std::function<void(Script&)>& scenario) {
  ScratchDirectory plain, shared;
  Log expected, seen;
  {
    HostCalls calls(plain.path());
    Script script(calls, plain.path());
    scenario(script);
    expected = script.log;
  }
  {
    FsGuest guest(shared.path());
    GuestCalls calls(guest);
    Script script(calls, shared.path());
    scenario(script);
    seen = script.log;
    check_attributes(calls, shared.path());
    calls.forget_all();
    BOOST_TEST(guest.inode_count() == 1u);
    BOOST_TEST(guest.handle_count() == 0u);
  }
  BOOST_TEST(seen == expected, boost::test_tools::per_element());
  BOOST_TEST(dump(shared.path()) == dump(plain.path()), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE(compare_with_host)

BOOST_AUTO_TEST_CASE(directories) {
  compare([](Script& s) {
    s.number("mkdir", s->mkdir("a", 0755));
    s.number("mkdir again", s->mkdir("a", 0755));
    s.number("mkdir below", s->mkdir("a/b", 0700));
    s.number("mkdir sticky", s->mkdir("tmp", 01777));
    s.number("mkdir below nothing", s->mkdir("none/b", 0700));
    s.number("rmdir full", s->rmdir("a"));
    s.file("a/file", "x");
    s.number("mkdir below a file", s->mkdir("a/file/b", 0700));
    s.number("rmdir a file", s->rmdir("a/file"));
    s.number("unlink a directory", s->unlink("a/b"));
    s.number("unlink nothing", s->unlink("a/none"));
    s.number("rmdir", s->rmdir("a/b"));
    s.number("unlink", s->unlink("a/file"));
    s.number("longest name", s->mkdir(std::string(255, 'n'), 0755));
    s.number("too long name", s->mkdir(std::string(256, 'n'), 0755));
    s.number("name of bytes", s->mkdir("\xff\x01 \n", 0755));
    s.names("list", s->list("."));
  });
}

BOOST_AUTO_TEST_CASE(umask_and_owner_of_what_is_made) {
  compare([](Script& s) {
    s.number("mkdir", s->mkdir("all", 0777));
    s.number("chmod", s->chmod("all", 0777));
    s->become(1000, 1001, 027);
    s.file("all/file", "x", 0666);
    s.number("mkdir", s->mkdir("all/directory", 0777));
    s.number("fifo", s->mknod("all/fifo", S_IFIFO | 0666));
    s.number("symlink", s->symlink("file", "all/link"));
    s->become(1002, 1003, 0);
    s.file("all/open", "x", 0666);
    s.number("set-id at birth", s->close(s->open("all/setuid", O_CREAT | O_RDWR, 04755)));
    s->become(0, 0, 077);
    s.file("all/root", "x", 0666);
  });
}

BOOST_AUTO_TEST_CASE(set_gid_directories_hand_down_their_group) {
  compare([](Script& s) {
    s.number("mkdir", s->mkdir("group", 0777));
    s.number("chown", s->chown("group", 0, 555));
    s.number("chmod", s->chmod("group", 02777));
    s->become(1000, 1000, 022);
    s.file("group/file", "x", 0666);
    s.number("mkdir", s->mkdir("group/directory", 0755));
    s.number("mkdir", s->mkdir("group/directory/deeper", 0755));
    s.number("fifo", s->mknod("group/fifo", S_IFIFO | 0644));
    s->become(0, 0, 022);
  });
}

BOOST_AUTO_TEST_CASE(special_files) {
  compare([](Script& s) {
    s.number("regular", s->mknod("regular", S_IFREG | 0640));
    s.number("no type", s->mknod("untyped", 0640));
    s.number("fifo", s->mknod("fifo", S_IFIFO | 0600));
    s.number("socket", s->mknod("socket", S_IFSOCK | 0600));
    s.number("null", s->mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    s.number("large minor", s->mknod("large", S_IFBLK | 0600, makedev(259, 70000)));
    s.number("exists", s->mknod("fifo", S_IFIFO | 0600));
    s.number("a directory", s->mknod("directory", S_IFDIR | 0700));
    s.names("list", s->list("."));
  });
}

BOOST_AUTO_TEST_CASE(symbolic_links) {
  compare([](Script& s) {
    s.number("symlink", s->symlink("no/such/../target", "link"));
    s.text("readlink", s->readlink("link"));
    s.number("exists", s->symlink("x", "link"));
    s.number("absolute", s->symlink("/etc/passwd", "absolute"));
    s.text("readlink", s->readlink("absolute"));
    s.number("longest", s->symlink(std::string(4095, 't'), "long"));
    s.text("readlink", s->readlink("long"));
    s.number("too long", s->symlink(std::string(4096, 't'), "longer"));
    s.file("file", "x");
    s.text("readlink of a file", s->readlink("file"));
    s.text("readlink of nothing", s->readlink("none"));
    s.done("open", s->open("link", O_RDONLY));
    s.number("chown of a link", s->chown("link", 5, 6));
    timespec times[2] = {{1000, 5}, {2000, 7}};
    s.number("times of a link", s->utimens("link", times));
  });
}

BOOST_AUTO_TEST_CASE(hard_links) {
  compare([](Script& s) {
    s.file("file", "content");
    s.number("mkdir", s->mkdir("directory", 0755));
    s.number("link", s->link("file", "directory/other"));
    s.number("exists", s->link("file", "directory/other"));
    s.number("of a directory", s->link("directory", "d2"));
    s.number("of nothing", s->link("none", "x"));
    s.number("symlink", s->symlink("file", "link"));
    s.number("of a symlink", s->link("link", "link2"));
    s.number("unlink", s->unlink("file"));
    int64_t fd = s.done("open", s->open("directory/other", O_RDONLY));
    s.text("read", s->read(fd, 100, 0));
    s.number("close", s->close(fd));
  });
}

BOOST_AUTO_TEST_CASE(renames) {
  compare([](Script& s) {
    s.file("a", "of a");
    s.file("b", "of b");
    s.number("mkdir", s->mkdir("d", 0755));
    s.number("mkdir", s->mkdir("d/e", 0755));
    s.number("mkdir", s->mkdir("f", 0755));
    s.number("into a directory", s->rename("a", "d/a"));
    s.number("nothing", s->rename("a", "x"));
    s.number("over a file", s->rename("b", "d/a"));
    s.number("file over directory", s->rename("d/a", "f"));
    s.number("directory over file", s->rename("f", "d/a"));
    s.number("over a full directory", s->rename("f", "d"));
    s.number("into itself", s->rename("d", "d/e/d"));
    s.number("directory over empty one", s->rename("f", "d/e"));
    s.file("one", "1");
    s.file("two", "22");
    s.number("NOREPLACE taken", s->rename("one", "two", RENAME_NOREPLACE));
    s.number("NOREPLACE", s->rename("one", "three", RENAME_NOREPLACE));
    s.number("EXCHANGE", s->rename("two", "three", RENAME_EXCHANGE));
    s.number("EXCHANGE file and directory", s->rename("two", "d", RENAME_EXCHANGE));
    s.number("EXCHANGE with nothing", s->rename("three", "four", RENAME_EXCHANGE));
    s.number("EXCHANGE and NOREPLACE", s->rename("three", "two", RENAME_EXCHANGE | RENAME_NOREPLACE));
    s.number("WHITEOUT", s->rename("three", "five", RENAME_WHITEOUT));
    s.number("unknown flag", s->rename("five", "six", 1u << 10));
  });
}

BOOST_AUTO_TEST_CASE(opening) {
  compare([](Script& s) {
    s.file("file", "12345");
    s.done("exclusive", s->open("file", O_CREAT | O_EXCL | O_RDWR, 0600));
    s.done("nothing", s->open("none", O_RDONLY));
    s.done("directory to write", s->open(".", O_WRONLY));
    int64_t fd = s.done("truncating", s->open("file", O_RDWR | O_TRUNC));
    s.text("read", s->read(fd, 10, 0));
    s.number("close", s->close(fd));
    fd = s.done("create what is there", s->open("file", O_CREAT | O_RDWR, 0600));
    s.number("write", s->write(fd, "abc", 2));
    s.text("read", s->read(fd, 10, 0));
    s.number("close", s->close(fd));
    fd = s.done("read only", s->open("file", O_RDONLY));
    s.number("write to read-only", s->write(fd, "abc", 2));
    s.number("close", s->close(fd));
    fd = s.done("write only", s->open("file", O_WRONLY));
    s.text("read of write-only", s->read(fd, 10, 0));
    s.number("close", s->close(fd));
    fd = s.done("appending", s->open("file", O_WRONLY | O_APPEND));
    s.number("write", s->write(fd, "end", 0));
    s.number("write", s->write(fd, "END", 0));
    s.number("close", s->close(fd));
    s.number("close again", s->close(fd));
  });
}

BOOST_AUTO_TEST_CASE(reading_and_writing) {
  compare([](Script& s) {
    int64_t fd = s.done("create", s->open("file", O_CREAT | O_RDWR, 0644));
    std::string large(1 << 20, 'x');
    for (size_t i = 0; i < large.size(); i++) large[i] = static_cast<char>(i * 7 + i / 251);
    s.number("large write", s->write(fd, large, 12345));
    s.text("large read", s->read(fd, 1 << 20, 12345));
    s.text("hole", s->read(fd, 100, 12300));
    s.text("over the end", s->read(fd, 1000, (1 << 20) + 12345 - 10));
    s.text("past the end", s->read(fd, 1000, 1 << 30));
    s.number("far write", s->write(fd, "far", 5'000'000'000));
    s.number("truncate", s->ftruncate(fd, 20000));
    s.number("negative offset", s->write(fd, "x", -1));
    s.text("negative offset", s->read(fd, 10, -1));
    s.number("largest offset", s->write(fd, "x", INT64_MAX));
    s.number("beyond the file system", s->write(fd, "x", INT64_MAX - 10));
    s.number("fsync", s->fsync(fd, false));
    s.number("fdatasync", s->fsync(fd, true));
    s.number("unlink", s->unlink("file"));
    s.number("write to unlinked", s->write(fd, "still", 0));
    s.text("read of unlinked", s->read(fd, 5, 0));
    s.number("close", s->close(fd));
  });
}

BOOST_AUTO_TEST_CASE(truncating) {
  compare([](Script& s) {
    s.file("file", "0123456789");
    s.number("shorter", s->truncate("file", 4));
    s.number("longer", s->truncate("file", 100));
    s.number("negative", s->truncate("file", -1));
    s.number("too large", s->truncate("file", INT64_MAX));
    s.number("directory", s->truncate(".", 0));
    s.number("nothing", s->truncate("none", 0));
    s.number("fifo", s->mknod("fifo", S_IFIFO | 0600));
    s.number("of a fifo", s->truncate("fifo", 0));
    int64_t fd = s.done("open", s->open("file", O_RDONLY));
    s.number("of a read-only descriptor", s->ftruncate(fd, 0));
    s.number("close", s->close(fd));
  });
}

BOOST_AUTO_TEST_CASE(modes_and_owners) {
  compare([](Script& s) {
    s.file("file", "x");
    for (mode_t mode : {0000, 0777, 04755, 02755, 01644, 06755, 07777, 02644}) {
      s.number("chmod", s->chmod("file", mode));
      s.mode("file");
      s.number("chown", s->chown("file", 1000, UINT32_MAX));  // takes set-id bits
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

// A file that loses its set-id bits and capabilities as the host's kernel would take them (CVE-2021-20263).
void killing_privileges(uint32_t uid) {
  compare([uid](Script& s) {
    // VFS_CAP_REVISION_2 with CAP_NET_RAW permitted.
    const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
                                 20);
    s->become(0, 0, 0);
    // Not 02666: FUSE takes a set-gid bit only from what the group may execute (linux/fuse.h, HANDLE_KILLPRIV_V2), a
    // local file system of late also where the writer is not of the group.
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
    s->become(0, 0, 077);  // a default access list stands above the umask
    s.file("directory/file", "x", 0666);
    s.number("mkdir", s->mkdir("directory/below", 0777));
    s.number("set default of a file", s->setxattr("file", "system.posix_acl_default", acl, 0));
    s.number("remove", s->removexattr("file", "system.posix_acl_access"));
  });
}

BOOST_AUTO_TEST_CASE(allocating) {
  compare([](Script& s) {
    s.file("file", std::string(20000, 'x'));
    int64_t fd = s.done("open", s->open("file", O_RDWR));
    s.number("longer", s->fallocate(fd, 0, 0, 30000));
    s.number("keep size", s->fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
    s.number("punch", s->fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096, 8192));
    s.number("zero", s->fallocate(fd, FALLOC_FL_ZERO_RANGE, 100, 200));
    s.number("punch alone", s->fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    s.number("length 0", s->fallocate(fd, 0, 0, 0));
    s.number("negative", s->fallocate(fd, 0, -1, 10));
    s.number("too large", s->fallocate(fd, 0, INT64_MAX - 1, 10));
    s.number("data", s->lseek(fd, 0, SEEK_DATA));
    s.number("hole", s->lseek(fd, 0, SEEK_HOLE));
    s.number("data after it", s->lseek(fd, 4096, SEEK_DATA));
    s.number("past the end", s->lseek(fd, 1 << 30, SEEK_DATA));
    s.number("negative", s->lseek(fd, -1, SEEK_HOLE));
    s.number("close", s->close(fd));
  });
}

BOOST_AUTO_TEST_CASE(copying_ranges) {
  compare([](Script& s) {
    s.file("from", std::string(10000, 'a') + std::string(10000, 'b'));
    int64_t from = s.done("open", s->open("from", O_RDONLY));
    int64_t to = s.done("create", s->open("to", O_CREAT | O_RDWR, 0644));
    s.number("copy", s->copy_range(from, 5000, to, 100, 10000));
    s.number("short", s->copy_range(from, 15000, to, 0, 10000));
    s.number("past the end", s->copy_range(from, 50000, to, 0, 100));
    s.number("to a read-only descriptor", s->copy_range(to, 0, from, 0, 100));
    s.number("within a file, overlapping", s->copy_range(to, 0, to, 10, 100));
    s.number("close", s->close(from));
    s.number("closed", s->copy_range(from, 0, to, 0, 10));
    s.number("close", s->close(to));
  });
}

BOOST_AUTO_TEST_CASE(unnamed_files) {
  compare([](Script& s) {
    int64_t fd = s.done("tmpfile", s->tmpfile(".", O_RDWR, 0666));
    s.number("write", s->write(fd, "unnamed", 0));
    s.text("read", s->read(fd, 100, 0));
    s.names("list", s->list("."));
    s.number("name it", s->link_open(fd, "named"));
    s.number("close", s->close(fd));
    fd = s.done("exclusive", s->tmpfile(".", O_RDWR | O_EXCL, 0600));
    s.number("name it", s->link_open(fd, "never"));
    s.number("close", s->close(fd));
    s.done("read only", s->tmpfile(".", O_RDONLY, 0600));
    s.number("mkdir", s->mkdir("all", 0777));
    s.number("chmod", s->chmod("all", 0777));
    s->become(1000, 1000, 077);
    fd = s.done("of another", s->tmpfile("all", O_WRONLY, 0666));
    s.number("name it", s->link_open(fd, "all/named"));
    s.number("close", s->close(fd));
    s->become(0, 0, 022);
  });
}

BOOST_AUTO_TEST_CASE(listing) {
  compare([](Script& s) {
    s.number("mkdir", s->mkdir("many", 0755));
    for (int i = 0; i < 500; i++) {
      s.number("make", s->mknod("many/" + std::string(static_cast<size_t>(i % 200), 'n') + std::to_string(i), 0644));
    }
    s.names("list", s->list("many"));
    s.names("list of a file", s->list("many/0"));
    s.names("list of nothing", s->list("none"));
    s.number("mkdir", s->mkdir("empty", 0755));
    s.names("list of nothing in it", s->list("empty"));
    for (int i = 0; i < 500; i++) {
      s.number("remove", s->unlink("many/" + std::string(static_cast<size_t>(i % 200), 'n') + std::to_string(i)));
    }
    s.number("rmdir", s->rmdir("many"));
  });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs::fs_compare_test
