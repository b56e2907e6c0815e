#include "guest-init/containers/helpers.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace nacre::guest {

namespace {

constexpr size_t kMaxRunning = 32;
constexpr int kPipe = 3;  // in the helper

[[noreturn]] void run_helper(int pipe, const Helpers::Work& work, unsigned max_seconds) {
  // Ends of pipes that others wait for.
  if (pipe != kPipe && ::dup2(pipe, kPipe) < 0) ::_exit(1);
  ::close_range(kPipe + 1, ~0u, 0);
  ::alarm(max_seconds);  // SIGALRM ends the kernel's killable waits too
  std::string text = work().dump(-1, ' ', false, Helpers::Json::error_handler_t::replace);
  ::_exit(write_all(kPipe, text) ? 0 : 1);
}

Helpers::Json parse_reply(const std::string& text) {
  Helpers::Json reply = Helpers::Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object()) return protocol::error_message("the guest could not do this in time", ETIMEDOUT);
  return reply;
}

}  // namespace

Helpers::~Helpers() {
  for (const auto& [fd, running] : running_) loop_.remove(fd);
}

Result<void> Helpers::start(const Work& work, Done done) {
  if (running_.size() >= kMaxRunning) return fail("too many requests at once", EAGAIN);
  Pipe pipe = TRY(make_pipe());
  TRY(set_nonblocking(pipe.read.get(), true));
  int fd = pipe.read.get();
  TRY(loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { read_from(fd); }));
  pid_t pid = ::fork();
  if (pid == 0) run_helper(pipe.write.get(), work, max_seconds_);
  if (pid < 0) {
    int code = errno;
    loop_.remove(fd);
    return fail_errno("fork", code);
  }
  running_[fd] = Running{.pipe = std::move(pipe.read), .text = "", .done = std::move(done)};
  return {};
}

void Helpers::read_from(int pipe) {
  Running& running = running_[pipe];
  std::array<char, 65536> buffer;
  ssize_t got = ::read(pipe, buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0 && running.text.size() < protocol::kMaxFrame) {
    running.text.append(buffer.data(), static_cast<size_t>(got));
    return;
  }
  loop_.remove(pipe);
  Running ended = std::move(running);
  running_.erase(pipe);
  ended.done(parse_reply(ended.text));
}

}  // namespace nacre::guest
