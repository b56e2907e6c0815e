// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/helpers.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <span>
#include <string_view>

namespace nacre::guest {

namespace {

constexpr size_t kMaxRunning = 32;
constexpr int kPipe = 3;  // in the helper

// Leaves the helper nothing but its pipe: it has copies of ends of pipes that others wait for.
void become_helper(int pipe, unsigned max_seconds) {
  if (pipe != kPipe && ::dup2(pipe, kPipe) < 0) ::_exit(1);
  ::close_range(kPipe + 1, ~0u, 0);
  ::alarm(max_seconds);  // SIGALRM ends the kernel's killable waits too
}

Helpers::Json parse_reply(std::string_view frame) {
  protocol::Decoder decoder;
  decoder.append(std::as_bytes(std::span(frame)));
  auto reply = decoder.next();
  if (reply && !reply->is_null()) return std::move(*reply);
  return protocol::encode(protocol::ErrorReply{.message = "the guest could not do this in time", .code = ETIMEDOUT});
}

}  // namespace

Helpers::~Helpers() {
  for (const auto& [fd, running] : running_) loop_.remove(fd);
}

void Helpers::give_reply(const Json& reply) {
  auto frame = protocol::to_frame(reply);
  ::_exit(frame && write_all(kPipe, *frame) ? 0 : 1);
}

Result<bool> Helpers::fork_helper(Done done) {
  if (running_.size() >= kMaxRunning) return fail("too many requests at once", EAGAIN);
  Pipe pipe = TRY(make_pipe());
  TRY(set_nonblocking(pipe.read.get(), true));
  int fd = pipe.read.get();
  TRY(loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { read_from(fd); }));
  pid_t pid = ::fork();
  if (pid == 0) {
    become_helper(pipe.write.release(), max_seconds_);
    return true;
  }
  if (pid < 0) {
    int code = errno;
    loop_.remove(fd);
    return fail_errno("fork", code);
  }
  running_[fd] = Running{.pipe = std::move(pipe.read), .text = "", .done = std::move(done)};
  return false;
}

void Helpers::read_from(int pipe) {
  Running& running = running_[pipe];
  std::array<char, 65536> buffer;
  ssize_t got = ::read(pipe, buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0 && running.text.size() <= protocol::kMaxFrame) {
    running.text.append(buffer.data(), static_cast<size_t>(got));
    return;
  }
  loop_.remove(pipe);
  Running ended = std::move(running);
  running_.erase(pipe);
  ended.done(parse_reply(ended.text));
}

}  // namespace nacre::guest
