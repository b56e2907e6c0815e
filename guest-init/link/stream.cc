// SPDX-License-Identifier: Apache-2.0
#include "guest-init/link/stream.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace nacre::guest {

namespace {

constexpr size_t kStreamChunk = 128 << 10;
constexpr int kPipeSize = 256 << 10;
// For fairness: after so many chunks other descriptors get their turn.
constexpr int kChunksPerTurn = 4;
constexpr size_t kMaxRest = 256 << 10;
constexpr time_t kConnectSeconds = 60;

std::array<char, kStreamChunk>& scratch() {
  static std::array<char, kStreamChunk> buffer;  // all streams are on one thread
  return buffer;
}

Result<Fd> make_timer(time_t seconds) {
  Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fail_errno("timerfd_create");
  itimerspec when{};
  when.it_value.tv_sec = seconds;
  if (::timerfd_settime(timer.get(), 0, &when, nullptr) < 0) return fail_errno("timerfd_settime");
  return timer;
}

}  // namespace

Stream::Stream(EventLoop& loop, Transport& transport, Direction direction, Fd pipe, std::function<void()> on_change)
    : loop_(loop),
      transport_(transport),
      direction_(direction),
      terminal_(::isatty(pipe.get()) == 1),
      pipe_(std::move(pipe)),
      on_change_(std::move(on_change)) {}

Stream::~Stream() {
  abort();
}

Result<std::unique_ptr<Stream>> Stream::create(EventLoop& loop, Transport& transport, Direction direction, Fd pipe,
                                               std::function<void()> on_change) {
  std::unique_ptr<Stream> stream(new Stream(loop, transport, direction, std::move(pipe), std::move(on_change)));
  TRY(set_nonblocking(stream->pipe_.get(), true));
  ::fcntl(stream->pipe_.get(), F_SETPIPE_SZ, kPipeSize);  // fewer turns for much data; the default does too
  TRY(stream->open_port());
  return stream;
}

Result<void> Stream::open_port() {
  listener_ = TRY(transport_.listen(0));
  return loop_.add(listener_.fd.get(), EPOLLIN, [this](uint32_t) { on_listener(); });
}

void Stream::expect_connection() {
  auto limit = [this]() -> Result<void> {
    timer_ = TRY(make_timer(kConnectSeconds));
    return loop_.add(timer_.get(), EPOLLIN, [this](uint32_t) { finish(); });
  };
  if (!finished_ && !connection_ && !limit()) finish();
}

void Stream::close_listener() {
  if (timer_) loop_.remove(timer_.get());
  timer_.reset();
  if (listener_.fd) loop_.remove(listener_.fd.get());
  listener_.fd.reset();
}

void Stream::on_listener() {
  connection_ = transport_.accept(listener_);
  if (!connection_) return;
  close_listener();
  update_watches();
}

void Stream::on_pipe(uint32_t events) {
  if (direction_ == Direction::to_process && (events & (EPOLLERR | EPOLLHUP))) {
    finish();  // nobody reads the pipe any more, or a terminal's last user has closed it
    return;
  }
  for (int i = 0; i < kChunksPerTurn && move_chunk(); i++) {
  }
  if (!finished_) update_watches();
}

void Stream::on_connection(uint32_t events) {
  if (direction_ == Direction::from_process && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
    if (peer_refuses_output()) {
      finish();  // the process gets SIGPIPE, as with a pipe that was closed
      return;
    }
    half_closed_ = true;
  }
  for (int i = 0; i < kChunksPerTurn && move_chunk(); i++) {
  }
  if (!finished_) update_watches();
}

// A closed connection and one whose peer has only shut down its own sending look the same to epoll until one writes;
// a write of nothing finds out.
bool Stream::peer_refuses_output() const {
  return ::send(connection_.get(), "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN;
}

bool Stream::move_chunk() {
  if (!flush()) return false;
  auto& buffer = scratch();
  ssize_t got = ::read(source(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) {
    finish();  // the end, or a connection that broke
    return false;
  }
  std::string_view chunk(buffer.data(), static_cast<size_t>(got));
  chunk.remove_prefix(write_some(chunk));
  if (!finished_) pending_ = chunk;
  return !finished_ && pending_.empty();
}

// Writes what is pending. Returns false if some of it is left, or if the stream is finished.
bool Stream::flush() {
  if (pending_.empty()) return !finished_;
  pending_.erase(0, write_some(pending_));
  if (pending_.empty()) std::string().swap(pending_);
  return !finished_ && pending_.empty();
}

// Returns how much the sink took. Finishes the stream if the sink is closed.
size_t Stream::write_some(std::string_view data) {
  size_t done = 0;
  while (done < data.size()) {
    std::string_view rest = data.substr(done);
    ssize_t n = direction_ == Direction::to_process
                    ? ::write(sink(), rest.data(), rest.size())
                    : ::send(sink(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      finish();
      return data.size();
    }
    done += static_cast<size_t>(n);
    sent_ += static_cast<uint64_t>(n);
  }
  if (done > 0 && drain_target_ != UINT64_MAX && is_drained()) on_change_();
  return done;
}

void Stream::update_watches() {
  bool input = direction_ == Direction::to_process;
  bool blocked = !pending_.empty();
  uint32_t source_watch = blocked ? kNotWatched : static_cast<uint32_t>(EPOLLIN);
  // An idle sink is watched too, for its end.
  uint32_t sink_watch = blocked ? static_cast<uint32_t>(EPOLLOUT) : 0u;
  if (!input && !half_closed_) sink_watch |= EPOLLRDHUP;
  watch(pipe_.get(), pipe_watch_, input ? sink_watch : source_watch);
  if (finished_) return;
  watch(connection_.get(), connection_watch_, input ? source_watch : sink_watch);
}

void Stream::watch(int fd, uint32_t& current, uint32_t wanted) {
  if (current == wanted) return;
  bool is_pipe = fd == pipe_.get();
  if (wanted == kNotWatched) {
    // Not modify(0): a hang-up is always reported, and would spin.
    loop_.remove(fd);
  } else if (current != kNotWatched) {
    if (!loop_.modify(fd, wanted)) finish();
  } else if (!loop_.add(fd, wanted,
                        [this, is_pipe](uint32_t events) { is_pipe ? on_pipe(events) : on_connection(events); })) {
    finish();
    return;
  }
  current = wanted;
}

// Reads a terminal until it would block, since it does not say how much it holds. What its users write meanwhile is
// bounded.
void Stream::take_rest() {
  auto& buffer = scratch();
  while (pending_.size() < kMaxRest) {
    ssize_t got = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (got <= 0) return;
    pending_.append(buffer.data(), static_cast<size_t>(got));
  }
}

void Stream::process_exited() {
  if (direction_ == Direction::to_process) {
    drain_target_ = 0;  // nobody waits for what the process has not read
    return;
  }
  if (terminal_ && !finished_) {
    take_rest();
    drain_target_ = sent_ + pending_.size();
    if (connection_) update_watches();
    return;
  }
  int waiting = 0;
  if (finished_ || ::ioctl(pipe_.get(), FIONREAD, &waiting) < 0) waiting = 0;
  drain_target_ = sent_ + pending_.size() + static_cast<uint64_t>(waiting);
}

void Stream::abort() {
  close_listener();
  if (pipe_) loop_.remove(pipe_.get());
  // The stream of the other direction has a copy of a socket.
  if (pipe_ && direction_ == Direction::to_process) ::shutdown(pipe_.get(), SHUT_WR);
  if (connection_) loop_.remove(connection_.get());
  pipe_.reset();
  connection_.reset();
  finished_ = true;  // `pending_` stays: the caller above may be writing it
}

void Stream::finish() {
  if (finished_) return;
  abort();
  on_change_();
}

}  // namespace nacre::guest
