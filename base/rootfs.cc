// SPDX-License-Identifier: Apache-2.0
#include "base/rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <vector>

namespace nacre {

std::string parent_path(const std::string& path) {
  size_t end = path.find_last_not_of('/');
  size_t slash = end == std::string::npos ? std::string::npos : path.rfind('/', end);
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

std::string base_name(const std::string& path) {
  size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return ".";
  size_t slash = path.rfind('/', end);
  size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(begin, end + 1 - begin);
}

std::string clean_path(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < path.size();) {
    size_t slash = std::min(path.find('/', at), path.size());
    std::string part = path.substr(at, slash - at);
    at = slash + 1;
    if (part == ".." && !parts.empty()) parts.pop_back();
    if (!part.empty() && part != "." && part != "..") parts.push_back(std::move(part));
  }
  std::string whole;
  for (const std::string& part : parts) whole += "/" + part;
  return whole.empty() ? "/" : whole;
}

Result<Fd> Rootfs::open(const std::string& path, int flags, mode_t mode) const {
  return open_in_root(root_.get(), path, flags, mode);
}

Result<std::string> Rootfs::path_of(int fd) const {
  std::array<char, PATH_MAX> text;
  auto whole = [&](int number) -> Result<std::string> {
    ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(number)).c_str(), text.data(), text.size());
    if (n < 0) return fail_errno("readlink");
    return std::string(text.data(), static_cast<size_t>(n));
  };
  std::string top = TRY(whole(root_.get())), path = TRY(whole(fd));
  return path.starts_with(top + "/") ? path.substr(top.size()) : "/";
}

Result<Fd> Rootfs::make_directory(const std::string& path) const {
  auto whole = open(path, O_PATH | O_DIRECTORY);
  if (whole || whole.error().code() != ENOENT) return whole;
  std::string prefix = "/";
  Fd last;
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = std::min(path.find('/', at), path.size());
    std::string name = path.substr(at, slash - at);
    at = slash + 1;
    if (name.empty()) continue;
    last = TRY(make_component(prefix, name));
    prefix += (prefix.size() > 1 ? "/" : "") + name;
  }
  return last;
}

// `parent` is a directory that exists.
Result<Fd> Rootfs::make_component(const std::string& parent, const std::string& name) const {
  std::string path = (parent.size() > 1 ? parent : "") + "/" + name;
  auto found = open(path, O_PATH | O_DIRECTORY);
  if (found || found.error().code() != ENOENT) return found;
  Fd directory = TRY(open(parent, O_PATH | O_DIRECTORY));
  if (::mkdirat(directory.get(), name.c_str(), 0755) == 0) return open(path, O_PATH | O_DIRECTORY);
  if (errno == EEXIST) return fail("mkdir " + path + ": a symbolic link that leads to nothing", EEXIST);
  return fail_errno("mkdir " + path);
}

Result<Fd> Rootfs::make_file(const std::string& path) const {
  auto found = open(path, O_PATH);
  if (found || found.error().code() != ENOENT) return found;
  Fd directory = TRY(make_directory(parent_path(path)));
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  if (Fd made(::openat(directory.get(), base_name(path).c_str(), kFlags, 0755)); made) return open(path, O_PATH);
  if (errno == EEXIST) return fail("make " + path + ": a symbolic link that leads to nothing", EEXIST);
  return fail_errno("make " + path);
}

Result<Fd> Rootfs::open_plain(const std::string& path) const {
  Fd found = TRY(open(clean_path(path), O_PATH | O_NOFOLLOW));
  struct stat status;
  if (::fstat(found.get(), &status) < 0) return fail_errno("stat " + path);
  if (S_ISLNK(status.st_mode)) return fail("a symbolic link, which could lead anywhere", ELOOP);
  return found;
}

Result<Fd> Rootfs::make_plain_directory(const std::string& path) const {
  auto found = open_plain(path);
  if (found || found.error().code() != ENOENT) return found;
  TRY(make_directory(clean_path(path)));
  return open_plain(path);
}

Result<Fd> Rootfs::make_plain_file(const std::string& path) const {
  auto found = open_plain(path);
  if (found || found.error().code() != ENOENT) return found;
  TRY(make_file(clean_path(path)));
  return open_plain(path);
}

}  // namespace nacre
