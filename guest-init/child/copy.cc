// SPDX-License-Identifier: Apache-2.0
// Copies a directory into another, for tmpcopyup. The image may hold anything: no symbolic link is followed.
#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <memory>

#include "guest-init/child/child.h"

namespace nacre::guest {

namespace {

constexpr int kMaxDepth = 256;
constexpr size_t kCopyChunk = 1 << 20;

Result<void> copy_content(int from, int to) {
  for (;;) {
    ssize_t n = ::sendfile(to, from, nullptr, kCopyChunk);
    if (n == 0) return {};
    if (n < 0 && errno != EINTR) return fail_errno("copy");
  }
}

Result<void> copy_link(int from, int to, const char* name) {
  std::array<char, PATH_MAX> target;
  ssize_t n = ::readlinkat(from, name, target.data(), target.size() - 1);
  if (n < 0) return fail_errno("readlink");
  target[static_cast<size_t>(n)] = '\0';
  if (::symlinkat(target.data(), to, name) < 0) return fail_errno("symlink");
  return {};
}

Result<void> copy_below(int from, int to, int depth);

Result<void> copy_entry(int from, int to, const char* name, int depth) {
  struct stat status;
  if (::fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno("stat");
  if (S_ISDIR(status.st_mode)) {
    if (::mkdirat(to, name, 0700) < 0) return fail_errno("mkdir");
    Fd inner(::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    Fd made(::openat(to, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!inner || !made) return fail_errno("open");
    TRY(copy_below(inner.get(), made.get(), depth + 1));
  } else if (S_ISREG(status.st_mode)) {
    Fd source(::openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    Fd copy(::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!source || !copy) return fail_errno("open");
    TRY(copy_content(source.get(), copy.get()));
  } else if (S_ISLNK(status.st_mode)) {
    TRY(copy_link(from, to, name));
  } else if (S_ISSOCK(status.st_mode)) {
    return {};  // a socket of a program that does not listen there
  } else if (::mknodat(to, name, status.st_mode, status.st_rdev) < 0) {
    return fail_errno("mknod");
  }
  if (::fchownat(to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno("chown");
  // The mode comes after the owner, whose change takes set-id bits away.
  if (!S_ISLNK(status.st_mode) && ::fchmodat(to, name, status.st_mode & 07777, 0) < 0) return fail_errno("chmod");
  return {};
}

Result<void> copy_below(int from, int to, int depth) {
  if (depth > kMaxDepth) return fail("directories nest too deeply", ELOOP);
  int opened = ::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return fail_errno("open");
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(opened), ::closedir);
  if (!directory) return fail_errno("opendir");
  while (dirent* entry = ::readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    TRY_CONTEXT(copy_entry(from, to, name.c_str(), depth), name);
  }
  return {};
}

}  // namespace

Result<void> copy_directory(int from, int to) {
  return copy_below(from, to, 0);
}

}  // namespace nacre::guest
