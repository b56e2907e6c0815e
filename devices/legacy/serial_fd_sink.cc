// SPDX-License-Identifier: Apache-2.0
#include "devices/legacy/serial_fd_sink.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace nacre {

namespace {

constexpr std::string_view kFileEnd = "\n[no more of the console is kept]\n";

}  // namespace

Result<std::unique_ptr<SerialFdSink>> SerialFdSink::create(EventLoop& loop, int fd) {
  struct stat status;
  if (::fstat(fd, &status) < 0) return fail_errno("serial output");
  Kind kind = Kind::file;
  Fd own;
  if (S_ISSOCK(status.st_mode)) {
    kind = Kind::socket;
  } else if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    // O_NONBLOCK belongs to the open file, which a shell or a logger shares with us: open it once more for ourselves.
    auto again = open_file("/proc/self/fd/" + std::to_string(fd), O_WRONLY | O_NONBLOCK | O_NOCTTY);
    kind = again ? Kind::nonblocking : Kind::polled;
    if (again) own = std::move(*again);
  }
  if (!own) {
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) return fail_errno("serial output");
    own = std::move(copy);
  }
  return std::unique_ptr<SerialFdSink>(new SerialFdSink(loop, std::move(own), kind));
}

SerialFdSink::SerialFdSink(EventLoop& loop, Fd fd, Kind kind)
    : kind_(kind), watch_(std::make_shared<Watch>(loop, std::move(fd))) {}

SerialFdSink::~SerialFdSink() {
  watch_->alive = false;
  if (watch_->armed) watch_->loop->remove(watch_->fd.get());
}

void SerialFdSink::set_on_room(std::function<void()> callback) {
  watch_->on_room = std::move(callback);
}

size_t SerialFdSink::write(std::span<const std::byte> data) {
  size_t taken = 0;
  while (taken < data.size()) {
    ssize_t n = write_some(data.subspan(taken));
    if (n >= 0) {
      taken += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      ask_for_room(watch_);
      break;
    } else if (errno != EINTR) {
      return data.size();  // the reader is gone
    }
  }
  return taken;
}

void SerialFdSink::ask_for_room(const std::shared_ptr<Watch>& watch) {
  if (watch->asked.exchange(true)) return;
  watch->loop->post([watch] {
    if (!watch->alive) return;
    auto room = [](Watch& there) {
      there.asked = false;
      if (there.on_room) there.on_room();
    };
    // The loop keeps the handler until it is removed: it must not keep the watch, which may end first.
    auto ready = [weak = std::weak_ptr(watch), room](uint32_t) {
      auto there = weak.lock();
      if (!there) return;
      // Once is enough: a write that falls short asks again.
      there->loop->remove(there->fd.get());
      there->armed = false;
      room(*there);
    };
    watch->armed = watch->loop->add(watch->fd.get(), EPOLLOUT, ready).has_value();
    if (!watch->armed) room(*watch);  // what cannot be watched is always ready
  });
}

ssize_t SerialFdSink::write_some(std::span<const std::byte> data) {
  int fd = watch_->fd.get();
  if (kind_ == Kind::socket) return ::send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (kind_ == Kind::file) return write_to_file(data);
  if (kind_ == Kind::polled) {
    // A pipe with room takes PIPE_BUF bytes without waiting, a terminal at least one.
    pollfd ready{fd, POLLOUT, 0};
    if (::poll(&ready, 1, 0) <= 0) {
      errno = EAGAIN;
      return -1;
    }
    data = data.first(1);
  }
  return ::write(fd, data.data(), data.size());
}

ssize_t SerialFdSink::write_to_file(std::span<const std::byte> data) {
  if (file_room_ == 0) return static_cast<ssize_t>(data.size());
  ssize_t n = ::write(watch_->fd.get(), data.data(), std::min(data.size(), file_room_ - kFileEnd.size()));
  if (n > 0) file_room_ -= static_cast<size_t>(n);
  if (file_room_ > kFileEnd.size()) return n;
  file_room_ = 0;
  (void)write_all(watch_->fd.get(), kFileEnd);
  return n;
}

}  // namespace nacre
