// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/testing/fs_compare.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace nacre::virtio::fs {
namespace {

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

// Describes a tree as the host sees it. Leaves out times and inode numbers, which differ between two trees.
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

}  // namespace

void Script::file(const std::string& path, const std::string& content, mode_t mode) {
  int64_t fd = done("create " + path, calls_.open(path, O_CREAT | O_WRONLY | O_EXCL, mode));
  number("write " + path, calls_.write(fd, content, 0));
  number("close " + path, calls_.close(fd));
}

void Script::mode(const std::string& path) {
  struct stat stat{};
  int result = ::lstat((directory_ + "/" + path).c_str(), &stat);
  log.push_back("mode of " + path + " " + std::to_string(result) + " " + std::to_string(stat.st_mode));
}

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

}  // namespace nacre::virtio::fs
