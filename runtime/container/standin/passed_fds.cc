// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/passed_fds.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include "guest-init/protocol/protocol.h"
#include "runtime/container/standin/inherited_fds.h"

namespace nacre::runtime {

namespace {

constexpr int kFirst = 3;

int number_in(const char* variable) {
  const char* text = ::getenv(variable);
  if (text == nullptr) return 0;
  std::string_view view(text);
  int number = 0;
  auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), number);
  return error == std::errc() && end == view.data() + view.size() ? number : 0;
}

int socket_option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

Result<PassedFd> inspect(int fd) {
  std::string name = "descriptor " + std::to_string(fd);
  struct stat status;
  if (!keep_inherited_fd(fd)) return fail(name + " is to be passed and is not open", EBADF);
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fstat(fd, &status) < 0) return fail_errno(name);
  int access = flags & O_ACCMODE;
  PassedFd passed{.fd = fd, .readable = access != O_WRONLY, .writable = access != O_RDONLY};
  if (S_ISSOCK(status.st_mode)) {
    if (socket_option(fd, SO_TYPE) != SOCK_STREAM || socket_option(fd, SO_ACCEPTCONN) != 0) {
      return fail(name + ": only connected stream sockets can be passed into the VM", ENOTSUP);
    }
    return passed;
  }
  if (flags & O_PATH || !(S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
    return fail(name + ": only files, pipes, terminals and stream sockets can be passed into the VM", ENOTSUP);
  }
  // Reads and writes of a file share a position, which two separate streams cannot carry.
  if (S_ISREG(status.st_mode) && passed.readable && passed.writable) {
    return fail(name + ": a file that is open for reading and writing cannot be passed into the VM", ENOTSUP);
  }
  return passed;
}

}  // namespace

Result<PassedFds> take_passed_fds(int preserve) {
  PassedFds passed;
  if (number_in("LISTEN_PID") == ::getpid()) passed.listen = std::max(0, number_in("LISTEN_FDS"));
  constexpr int kMost = static_cast<int>(protocol::kMaxPassed);
  if (preserve < 0 || preserve > kMost || passed.listen > kMost - preserve) {
    return fail("at most " + std::to_string(kMost) + " descriptors can be passed", EINVAL);
  }
  for (int fd = kFirst; fd < kFirst + passed.listen + preserve; fd++) passed.fds.push_back(TRY(inspect(fd)));
  return passed;
}

void close_passed_fds(const std::vector<PassedFd>& fds) {
  for (const PassedFd& passed : fds) ::close(passed.fd);
}

}  // namespace nacre::runtime
