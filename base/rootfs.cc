#include "base/rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <vector>

namespace nacre {

namespace {

constexpr int kMaxLinks = 40;  // as the kernel

}  // namespace

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
  return make_directory(path, kMaxLinks);
}

Result<Fd> Rootfs::make_directory(const std::string& path, int links_left) const {
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
    last = TRY(make_component(prefix, name, links_left));
    prefix += (prefix.size() > 1 ? "/" : "") + name;
  }
  return last;
}

// `parent` is a directory that exists.
Result<Fd> Rootfs::make_component(const std::string& parent, const std::string& name, int links_left) const {
  std::string path = parent + "/" + name;
  auto found = open(path, O_PATH | O_DIRECTORY);
  if (found || found.error().code() != ENOENT) return found;
  Fd directory = TRY(open(parent, O_PATH | O_DIRECTORY));
  if (::mkdirat(directory.get(), name.c_str(), 0755) == 0) return open(path, O_PATH | O_DIRECTORY);
  if (errno != EEXIST) return fail_errno("mkdir " + path);
  // The name exists and cannot be opened: a symbolic link to something that does not exist yet.
  std::array<char, PATH_MAX> target;
  ssize_t length = ::readlinkat(directory.get(), name.c_str(), target.data(), target.size());
  if (length < 0) return open(path, O_PATH | O_DIRECTORY);
  if (links_left == 0) return fail("mkdir " + path + ": too many symbolic links", ELOOP);
  std::string link(target.data(), static_cast<size_t>(length));
  return make_directory(link[0] == '/' ? link : parent + "/" + link, links_left - 1);
}

Result<Fd> Rootfs::make_file(const std::string& path) const {
  return make_file(path, kMaxLinks);
}

Result<Fd> Rootfs::make_file(const std::string& path, int links_left) const {
  auto found = open(path, O_PATH);
  if (found || found.error().code() != ENOENT) return found;
  Fd directory = TRY(make_directory(parent_path(path)));
  // Neither O_EXCL nor O_NOFOLLOW: a dangling link is followed, inside the root, and its target is made.
  auto made = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0755);
  if (made) return open(path, O_PATH);
  // A link into directories that do not exist yet either.
  std::array<char, PATH_MAX> target;
  ssize_t length = ::readlinkat(directory.get(), base_name(path).c_str(), target.data(), target.size());
  if (made.error().code() != ENOENT || length < 0) return std::unexpected(made.error());
  if (links_left == 0) return fail("make " + path + ": too many symbolic links", ELOOP);
  std::string link(target.data(), static_cast<size_t>(length));
  return make_file(link[0] == '/' ? link : parent_path(path) + "/" + link, links_left - 1);
}

}  // namespace nacre
