// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/status_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace nacre::virtio::vsock {

namespace {

constexpr size_t kMaxLine = 64;
constexpr size_t kMaxAsked = 64;
constexpr std::string_view kFlush = "FLUSH ";
constexpr std::string_view kProgress = "PROGRESS";

}  // namespace

Result<void> StatusChannel::open(EventLoop& loop, Fd socket, EventLoop::Task changed) {
  TRY(loop.add(socket.get(), EPOLLIN, [this, changed = std::move(changed)](uint32_t) {
    read_lines();
    changed();
  }));
  loop_ = &loop;
  socket_ = std::move(socket);
  return {};
}

void StatusChannel::read_lines() {
  std::array<std::byte, 256> data;
  auto received = receive_with_fds(socket_.get(), data, MSG_DONTWAIT);  // passed descriptors are closed
  if (!received && received.error().code() == EAGAIN) return;
  if (!received) return close();
  if (received->size == 0) {
    no_more_requests_ = true;  // the client may still wait for answers
    loop_->remove(socket_.get());
    return;
  }
  for (std::byte byte : std::span(data).first(received->size)) {
    char c = static_cast<char>(byte);
    if (c != '\n') {
      line_.push_back(c);
      if (line_.size() > kMaxLine) return close();
    } else {
      if (!take_line(line_)) return close();
      line_.clear();
    }
  }
}

bool StatusChannel::take_line(std::string_view line) {
  if (line == kProgress) return ++progress_asked_ <= kMaxAsked;
  if (!line.starts_with(kFlush) || asked_.size() >= kMaxAsked) return false;
  line.remove_prefix(kFlush.size());
  uint64_t bytes;
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), bytes);
  if (error != std::errc() || end != line.data() + line.size()) return false;
  asked_.push_back(bytes);
  return true;
}

void StatusChannel::update(const Progress& progress) {
  for (; socket_ && progress_asked_ > 0; progress_asked_--) {
    bool full = progress.open && progress.written < progress.received;
    answer("WRITTEN " + std::to_string(progress.written) + (full ? " full\n" : "\n"));
  }
  while (socket_ && !asked_.empty() && asked_.front() <= progress.written) {
    answer("OK " + std::to_string(asked_.front()) + "\n");
    if (socket_) asked_.pop_front();
  }
  bool never = std::ranges::any_of(asked_, [&](uint64_t bytes) { return bytes > progress.received; });
  if (never || (asked_.empty() ? no_more_requests_ : !progress.open)) close();
}

void StatusChannel::answer(const std::string& line) {
  // If a client lets its answers pile up, it does not want them.
  if (::send(socket_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) close();
}

void StatusChannel::close() {
  if (!socket_) return;
  loop_->remove(socket_.get());
  socket_.reset();
  asked_.clear();
  progress_asked_ = 0;
}

}  // namespace nacre::virtio::vsock
