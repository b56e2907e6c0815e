// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/inherited_fds.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace nacre::runtime {

namespace {

std::vector<int>& inherited_fds() {
  static std::vector<int> fds;
  return fds;
}

}  // namespace

void note_inherited_fds() {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  if (!directory) return;
  while (dirent* entry = ::readdir(directory.get())) {
    int fd = std::atoi(entry->d_name);  // "." and ".." become 0
    if (fd > STDERR_FILENO && fd != ::dirfd(directory.get())) inherited_fds().push_back(fd);
  }
}

bool keep_inherited_fd(int fd) {
  return std::erase(inherited_fds(), fd) != 0;
}

void close_inherited_fds() {
  for (int fd : std::exchange(inherited_fds(), {})) ::close(fd);
}

void detach_from_caller() {
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // The caller's pipes must see an end of file when the container closes its side, and not when this process ends.
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), fd);
  [[maybe_unused]] int failed = ::chdir("/");
}

}  // namespace nacre::runtime
