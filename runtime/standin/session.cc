#include "runtime/standin/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "base/log.h"
#include "runtime/standin/terminal.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// After the control connection's end, vmm's own end is given this long before it counts as ended anyway.
constexpr int kVmEndMs = 2'000;

int remaining_ms(Clock::time_point deadline) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

bool leads_anywhere(int fd) {
  struct stat info;
  if (::fstat(fd, &info) < 0) return false;
  return !(S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3));  // /dev/null
}

}  // namespace

Stdio probe_stdio() {
  auto probe = [](int fd) { return leads_anywhere(fd) ? fd : -1; };
  return {.in = probe(STDIN_FILENO), .out = probe(STDOUT_FILENO), .err = probe(STDERR_FILENO)};
}

Json with_stdio(Json request, const Stdio& stdio) {
  request["stdin"] = stdio.in >= 0;
  request["stdout"] = stdio.out >= 0;
  request["stderr"] = stdio.err >= 0;
  return request;
}

Session::Session(Fd control, std::string container, std::string exec, int vmm_pidfd)
    : control_(std::move(control)), container_(std::move(container)), exec_(std::move(exec)), vmm_pidfd_(vmm_pidfd) {}

Session::Wake Session::wait(int signal_fd, int hangup_fd, int timeout_ms) {
  for (;;) {
    // poll(2) ignores negative descriptors.
    std::array<pollfd, 4> fds{
        {{control_.get(), POLLIN, 0}, {vmm_pidfd_, POLLIN, 0}, {signal_fd, POLLIN, 0}, {hangup_fd, POLLRDHUP, 0}}};
    int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready < 0) continue;  // EINTR: no other error is possible here
    if (ready == 0) return Wake::timeout;
    // What the guest said before the VM ended still counts.
    if (fds[0].revents != 0) return Wake::message;
    if (fds[1].revents != 0) return Wake::vm_ended;
    if (fds[3].revents != 0) return Wake::hangup;
    return Wake::signal;
  }
}

Result<bool> Session::read_control() {
  std::array<std::byte, 16384> bytes;
  ssize_t n = ::recv(control_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    if (errno == ECONNRESET) return false;
    return fail_errno("control connection");
  }
  if (n == 0) return false;
  decoder_.append(std::span(bytes).first(static_cast<size_t>(n)));
  return true;
}

Result<std::optional<Json>> Session::next_reply() {
  for (;;) {
    Json message = TRY(decoder_.next());
    if (message.is_null()) return std::nullopt;
    if (message["type"] != "exited") return message;
    Exited exited;
    exited.exit.status = static_cast<int>(TRY(protocol::integer_field(message, "status", 0, 255)));
    exited.exit.signal = static_cast<int>(TRY(protocol::integer_field(message, "signal", 0, SIGRTMAX)));
    if (message.contains("sent")) {
      const Json& sent = message["sent"];
      exited.sent_stdout = static_cast<uint64_t>(TRY(protocol::integer_field(sent, "stdout", 0, INT64_MAX)));
      exited.sent_stderr = static_cast<uint64_t>(TRY(protocol::integer_field(sent, "stderr", 0, INT64_MAX)));
    }
    exited_ = exited;
  }
}

Result<Json> Session::request(const Json& message, int timeout_ms, int hangup_fd) {
  auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  // A VM that ended has closed its end: the wait below tells why better than EPIPE does.
  if (auto sent = protocol::send(control_.get(), message); !sent && sent.error().code() != EPIPE) {
    return std::unexpected(sent.error().with_context("request to the guest"));
  }
  for (;;) {
    if (auto reply = TRY(next_reply())) return unwrap(std::move(*reply));
    switch (wait(-1, hangup_fd, remaining_ms(deadline))) {
      case Wake::message:
        if (!TRY(read_control())) return fail("the VM ended", ECONNRESET);
        break;
      case Wake::vm_ended:
        return fail("the VM ended", ECONNRESET);
      case Wake::hangup:
        return fail("given up by the caller", ECANCELED);
      case Wake::timeout:
        return fail("the guest did not answer within " + std::to_string(timeout_ms / 1000) + " s", ETIMEDOUT);
      case Wake::signal:
        break;
    }
  }
}

Result<void> Session::attach_stdio(int directory, const Json& created, const Stdio& stdio) {
  auto streams = created.find("streams");
  if (streams == created.end()) return {};
  struct Part {
    const char* name;
    int fd;
    Stream::Direction direction;
    std::optional<Stream>& stream;
  };
  for (const Part& part : {Part{"stdin", stdio.in, Stream::Direction::to_guest, stdin_},
                           Part{"stdout", stdio.out, Stream::Direction::from_guest, stdout_},
                           Part{"stderr", stdio.err, Stream::Direction::from_guest, stderr_}}) {
    if (part.fd < 0) continue;
    auto port = static_cast<uint32_t>(TRY(protocol::integer_field(*streams, part.name, 1, UINT32_MAX - 1)));
    part.stream = TRY_CONTEXT(Stream::attach(directory, port, part.direction, part.fd), part.name);
  }
  return {};
}

void Session::forward_signal(int signal_fd) {
  auto signal = read_signal(signal_fd);
  if (!signal) return;
  if (terminal_ && signal->number == SIGHUP && signal->from_kernel) return;
  if (terminal_ && signal->number == SIGWINCH) {
    WindowSize size = window_size(terminal_.get());
    tell_guest({{"type", "resize"}, {"rows", size.rows}, {"columns", size.columns}});
  } else {
    tell_guest({{"type", "kill"}, {"signal", signal->number}, {"all", false}});
  }
}

// About our process; what comes back is looked at by run().
void Session::tell_guest(Json message) {
  message["container"] = container_;
  if (!exec_.empty()) message["exec"] = exec_;
  auto sent = protocol::send(control_.get(), message);
  if (!sent) log_debug(message["type"].get<std::string>() + " not forwarded: " + sent.error().message());
}

// Until all output that the guest sent is in the caller's descriptors, however slowly the caller reads.
void Session::flush() {
  std::array<pollfd, 3> fds{{{vmm_pidfd_, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}}};
  if (stdout_ && stdout_->request_flush(exited_->sent_stdout)) fds[1].fd = stdout_->fd();
  if (stderr_ && stderr_->request_flush(exited_->sent_stderr)) fds[2].fd = stderr_->fd();
  while (fds[1].fd >= 0 || fds[2].fd >= 0) {
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0 && stdout_->flushed()) fds[1].fd = -1;
    if (fds[2].revents != 0 && stderr_->flushed()) fds[2].fd = -1;
    if (fds[0].revents != 0) return;
  }
}

ProcessExit Session::run(int signal_fd) {
  constexpr ProcessExit kKilled{.status = 0, .signal = SIGKILL};
  for (;;) {
    auto reply = next_reply();
    if (!reply) {
      log_warn("the guest broke the protocol: " + reply.error().message());
      return kKilled;
    }
    if (exited_) {
      flush();
      return exited_->exit;
    }
    if (*reply) {  // to what we forwarded: who sent it is not here to be told
      if ((**reply)["type"] == "error") log_debug("forwarded: " + (**reply).value("message", Json("")).dump());
      continue;
    }
    switch (wait(signal_fd, -1, -1)) {
      case Wake::message: {
        auto alive = read_control();
        if (!alive || !*alive) {
          if (vmm_pidfd_ >= 0) {
            pollfd end{vmm_pidfd_, POLLIN, 0};
            ::poll(&end, 1, kVmEndMs);
          }
          return kKilled;
        }
        break;
      }
      case Wake::signal:
        forward_signal(signal_fd);
        break;
      case Wake::vm_ended:
      case Wake::hangup:
      case Wake::timeout:
        return kKilled;
    }
  }
}

}  // namespace nacre::runtime
