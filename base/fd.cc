// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace nacre {

namespace {

constexpr size_t kMaxPassedFds = 16;

}  // namespace

void Fd::reset(int fd) {
  // Linux closes the descriptor even when close() says EINTR: never repeat it.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Fd> Fd::dup() const {
  int copy = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail_errno("dup");
  return Fd(copy);
}

Result<Fd> open_file(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

Result<Fd> open_at(int directory, const std::string& path, int flags, mode_t mode) {
  int fd = ::openat(directory, path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return fail_errno("open " + path);
  return Fd(fd);
}

Result<Fd> open_in_root(int root, const std::string& path, int flags, mode_t mode) {
  constexpr int kMaxTries = 64;  // of a lookup that lost a race against a rename
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  long fd;
  int tries = 0;
  do {
    fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how));
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < kMaxTries)));
  if (fd < 0) return fail_errno("open " + path);
  return Fd(static_cast<int>(fd));
}

Result<Pipe> make_pipe(int flags) {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), flags | O_CLOEXEC) < 0) return fail_errno("pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<std::pair<Fd, Fd>> make_socketpair(int type) {
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) < 0) return fail_errno("socketpair");
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

Result<Fd> make_eventfd(unsigned initial) {
  int fd = ::eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return fail_errno("eventfd");
  return Fd(fd);
}

void signal_eventfd(int fd) {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(fd, &one, sizeof(one));
}

uint64_t drain_eventfd(int fd) {
  uint64_t count = 0;
  return ::read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

Result<void> set_nonblocking(int fd, bool on) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno("fcntl F_GETFL");
  if (::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0) return fail_errno("fcntl F_SETFL");
  return {};
}

Result<void> set_cloexec(int fd, bool on) {
  if (::fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0) return fail_errno("fcntl F_SETFD");
  return {};
}

Result<void> read_all(int fd, std::span<std::byte> out) {
  while (!out.empty()) {
    ssize_t n = ::read(fd, out.data(), out.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read");
    }
    if (n == 0) return fail("read: unexpected end of file");
    out = out.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<void> write_all(int fd, std::span<const std::byte> in) {
  while (!in.empty()) {
    ssize_t n = ::write(fd, in.data(), in.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("write");
    }
    in = in.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<void> write_all(int fd, std::string_view text) {
  return write_all(fd, std::as_bytes(std::span(text)));
}

Result<std::string> read_fd(int fd, size_t limit) {
  std::string content;
  std::array<char, 16384> chunk;
  for (;;) {
    ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read");
    }
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > limit) {
      return fail("larger than " + std::to_string(limit) + " bytes", EFBIG);
    }
    content.append(chunk.data(), static_cast<size_t>(n));
  }
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  Fd fd = TRY(open_file(path, O_RDONLY));
  return TRY_CONTEXT(read_fd(fd.get(), limit), path);
}

Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode) {
  std::string scratch = path + ".tmp." + std::to_string(::getpid());
  Result<void> result = [&]() -> Result<void> {
    Fd fd = TRY(open_file(scratch, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
    TRY_CONTEXT(write_all(fd.get(), content), scratch);
    if (::rename(scratch.c_str(), path.c_str()) < 0) return fail_errno("rename " + path);
    return {};
  }();
  if (!result) ::unlink(scratch.c_str());
  return result;
}

Result<void> send_with_fds(int socket, std::span<const std::byte> data, std::span<const int> fds) {
  if (fds.size() > kMaxPassedFds) return fail("too many descriptors for one message");
  iovec iov{const_cast<std::byte*>(data.data()), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxPassedFds)> control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  ssize_t n;
  do {
    n = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("sendmsg");
  if (static_cast<size_t>(n) < data.size()) return write_all(socket, data.subspan(static_cast<size_t>(n)));
  return {};
}

Result<Received> receive_with_fds(int socket, std::span<std::byte> data, int flags) {
  iovec iov{data.data(), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxPassedFds)> control{};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t n;
  do {
    n = ::recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("recvmsg");
  Received received;
  received.size = static_cast<size_t>(n);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      received.fds.emplace_back(fd);
    }
  }
  return received;
}

}  // namespace nacre
