// SPDX-License-Identifier: Apache-2.0
// Compares calls on open files with the same calls on a plain directory.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "devices/virtio/fs/testing/fs_compare.h"

namespace nacre::virtio::fs {
namespace {

BOOST_AUTO_TEST_SUITE(compare_files_with_host)

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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs
