// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/host_end.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <string>

namespace nacre::virtio::vsock {

namespace {

// The most bytes written at once to a terminal or device that cannot be written without blocking. poll(2) says only
// that it has room, not how much.
constexpr size_t kBlindWrite = 128;

// Opens a terminal anew, which gives it flags of its own. Returns nothing for other files, and for the master side of a
// pty: opening that again makes another pty.
Fd reopen_terminal(int fd, int access) {
  unsigned number;
  if (::isatty(fd) != 1 || ::ioctl(fd, TIOCGPTN, &number) == 0) return Fd();
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  return Fd(::open(path.c_str(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

Result<HostEnd::Direction> HostEnd::direction_of(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno("F_GETFL");
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return Direction::read;
    case O_WRONLY:
      return Direction::write;
    default:
      return Direction::both;
  }
}

Result<HostEnd> HostEnd::create(Fd fd, Direction direction) {
  struct stat status;
  if (::fstat(fd.get(), &status) < 0) return fail_errno("fstat");
  // Whoever has a directory of the host can reach every file of the host from it.
  if (S_ISDIR(status.st_mode)) return fail("a directory is no stream", EISDIR);
  HostEnd end;
  end.source_ = direction != Direction::write;
  end.sink_ = direction != Direction::read;
  if (S_ISSOCK(status.st_mode)) {
    end.kind_ = Kind::socket;
  } else if (S_ISFIFO(status.st_mode)) {
    end.kind_ = Kind::pipe;
  } else if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
    end.kind_ = Kind::file;
  } else {
    end.kind_ = Kind::other;
    end.nonblocking_ = (::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0;
    int access = direction == Direction::read ? O_RDONLY : direction == Direction::write ? O_WRONLY : O_RDWR;
    if (Fd own = reopen_terminal(fd.get(), access)) {
      fd = std::move(own);
      end.nonblocking_ = true;
    }
  }
  end.fd_ = std::move(fd);
  return end;
}

Result<void> HostEnd::attach(EventLoop& loop, EventLoop::Handler handler) {
  if (!fd_ || kind_ == Kind::file) return {};
  uint32_t events = EPOLLET | EPOLLRDHUP | (source_ ? EPOLLIN : 0u) | (sink_ ? EPOLLOUT : 0u);
  auto added = loop.add(fd_.get(), events, std::move(handler));
  if (added) {
    loop_ = &loop;
  } else if (added.error().code() == EPERM) {
    kind_ = Kind::file;  // it has no poll operation, like /dev/null and /dev/zero, so its calls do not block
  } else {
    return std::unexpected(added.error());
  }
  return {};
}

void HostEnd::detach() {
  if (loop_ != nullptr) loop_->remove(fd_.get());
  loop_ = nullptr;
}

void HostEnd::on_events(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
  // If a pipe has no readers, or the peer of a socket is gone for both directions, nobody will see what the guest
  // sends. The guest is told now rather than at its next write. What the source still holds is read to its end.
  bool no_reader =
      (kind_ == Kind::pipe && (events & EPOLLERR) != 0) || (kind_ == Kind::socket && (events & EPOLLHUP) != 0);
  if (no_reader) close_sink();
}

HostEnd::Transfer HostEnd::read(std::span<const iovec> into) {
  if (!source_ || into.empty()) return {};
  ssize_t n = read_once(into);
  if (n > 0) return {.bytes = static_cast<size_t>(n)};
  if (n < 0 && errno == EAGAIN) {
    readable_ = false;
    return {};
  }
  return {.ended = true};  // an error (a reset, a hung-up terminal) ends the stream as an end of file does
}

HostEnd::Transfer HostEnd::write(std::span<const iovec> from) {
  if (!sink_ || from.empty()) return {};
  ssize_t n = write_once(from);
  if (n > 0) return {.bytes = static_cast<size_t>(n)};
  if (n < 0 && errno == EAGAIN) {
    writable_ = false;
    return {};
  }
  return {.ended = true};  // EPIPE, ENOSPC, EIO, or a device that takes nothing: the bytes have nowhere to go
}

// These return as readv(2) and writev(2) do, but never EINTR, and EAGAIN if the call would block.
ssize_t HostEnd::read_once(std::span<const iovec> into) {
  int count = static_cast<int>(std::min<size_t>(into.size(), IOV_MAX));
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(into.data());
  message.msg_iovlen = static_cast<size_t>(count);
  for (;;) {
    ssize_t n;
    if (kind_ == Kind::socket) {
      n = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } else if (kind_ == Kind::file || nonblocking_) {
      n = ::readv(fd_.get(), into.data(), count);
    } else if (!nowait_refused_) {
      n = ::preadv2(fd_.get(), into.data(), count, -1, RWF_NOWAIT);
      if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == ESPIPE)) {
        nowait_refused_ = true;
        continue;
      }
    } else if (ready(POLLIN)) {
      // Another reader of the same terminal or fifo may be faster. Then this call blocks until more bytes come.
      n = ::readv(fd_.get(), into.data(), count);
    } else {
      errno = EAGAIN;
      return -1;
    }
    if (n >= 0 || errno != EINTR) return n;
  }
}

ssize_t HostEnd::write_once(std::span<const iovec> from) {
  int count = static_cast<int>(std::min<size_t>(from.size(), IOV_MAX));
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(from.data());
  message.msg_iovlen = static_cast<size_t>(count);
  for (;;) {
    ssize_t n;
    if (kind_ == Kind::socket) {
      n = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (kind_ == Kind::file || nonblocking_) {
      n = ::writev(fd_.get(), from.data(), count);
    } else if (!nowait_refused_) {
      n = ::pwritev2(fd_.get(), from.data(), count, -1, RWF_NOWAIT);
      if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == ESPIPE)) {
        nowait_refused_ = true;
        continue;
      }
    } else if (ready(POLLOUT)) {
      // A pipe that polls writable takes PIPE_BUF bytes without blocking.
      size_t limit = kind_ == Kind::pipe ? PIPE_BUF : kBlindWrite;
      n = ::write(fd_.get(), from[0].iov_base, std::min(from[0].iov_len, limit));
    } else {
      errno = EAGAIN;
      return -1;
    }
    if (n >= 0 || errno != EINTR) return n;
  }
}

bool HostEnd::ready(short events) const {
  pollfd poll{.fd = fd_.get(), .events = events, .revents = 0};
  return ::poll(&poll, 1, 0) > 0;
}

void HostEnd::close_source() {
  source_ = false;
  close_if_unused();
}

void HostEnd::close_sink() {
  // Shut the socket down only if we also read from it. A socket that was passed only to be written is just released,
  // since others who share it may go on writing.
  if (sink_ && source_ && kind_ == Kind::socket) ::shutdown(fd_.get(), SHUT_WR);
  sink_ = false;
  close_if_unused();
}

void HostEnd::close_if_unused() {
  if (source_ || sink_) return;
  detach();
  fd_.reset();
}

}  // namespace nacre::virtio::vsock
