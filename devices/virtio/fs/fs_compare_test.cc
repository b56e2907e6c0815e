// SPDX-License-Identifier: Apache-2.0
// Compares calls on names with the same calls on a plain directory: their results, and what the trees look like
// afterwards.
#include <fcntl.h>
#include <sys/sysmacros.h>

#include <boost/test/unit_test.hpp>

#include "devices/virtio/fs/testing/fs_compare.h"

namespace nacre::virtio::fs::fs_compare_test {
namespace {

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
