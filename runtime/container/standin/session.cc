#include "runtime/container/standin/session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/log.h"
#include "runtime/container/standin/terminal.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// After the control connection's end, vmm's own end is given this long before it counts as ended anyway.
constexpr int kVmEndMs = 2'000;

// How often vmm is asked about output that is not written yet, and after how many questions in a row without a sign
// that it writes it is given up.
constexpr std::chrono::milliseconds kQuestionInterval{2'000};
constexpr int kMaxUnanswered = 5;

bool leads_anywhere(int fd) {
  struct stat info;
  if (::fstat(fd, &info) < 0) return false;
  return !(S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3));  // /dev/null
}

// 0 where it is not a number: the guest's word is not to be trusted.
uint64_t number_at(const Json& message, const std::string& pointer) {
  Json::json_pointer at(pointer);
  if (!message.contains(at) || !message.at(at).is_number_unsigned()) return 0;
  return message.at(at).get<uint64_t>();
}

}  // namespace

Stdio probe_stdio(const std::optional<Terminal>& terminal, std::vector<PassedFd> passed) {
  if (terminal) {
    auto end = [&](const Fd& redirected) { return redirected ? redirected.get() : terminal->fd.get(); };
    return {.in = end(terminal->redirected_in),
            .out = end(terminal->redirected_out),
            .err = -1,
            .passed = std::move(passed)};
  }
  auto probe = [](int fd) { return leads_anywhere(fd) ? fd : -1; };
  return {
      .in = probe(STDIN_FILENO), .out = probe(STDOUT_FILENO), .err = probe(STDERR_FILENO), .passed = std::move(passed)};
}

Json with_stdio(Json request, const Stdio& stdio) {
  request["stdin"] = stdio.in >= 0;
  request["stdout"] = stdio.out >= 0;
  request["stderr"] = stdio.err >= 0;
  for (const PassedFd& passed : stdio.passed) {
    request["passed"].push_back(std::string(passed.readable ? "r" : "") + (passed.writable ? "w" : ""));
  }
  return request;
}

Session::Session(Fd control, std::string container, std::string exec, int vmm_pidfd)
    : control_(std::move(control)), container_(std::move(container)), exec_(std::move(exec)), vmm_pidfd_(vmm_pidfd) {}

Session::Wake Session::wait(int signal_fd, int hangup_fd, int timeout_ms) {
  for (;;) {
    // poll(2) ignores negative descriptors.
    std::array<pollfd, 5> fds{{{control_.get(), POLLIN, 0},
                               {vmm_pidfd_, POLLIN, 0},
                               {signal_fd, POLLIN, 0},
                               {hangup_fd, POLLRDHUP, 0},
                               {other_fd_, POLLIN, 0}}};
    int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready < 0) continue;  // EINTR: no other error is possible here
    if (ready == 0) return Wake::timeout;
    // What the guest said before the VM ended still counts.
    if (fds[0].revents != 0) return Wake::message;
    if (fds[1].revents != 0) return Wake::vm_ended;
    if (fds[3].revents != 0) return Wake::hangup;
    if (fds[2].revents != 0) return Wake::signal;
    return Wake::other;
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
    if (message["type"] == "oom") {
      on_oom_();
      continue;
    }
    if (message["type"] == "ready") {
      on_ready_();
      continue;
    }
    if (message["type"] != "exited") return message;
    Exited exited;
    exited.exit.status = static_cast<int>(TRY(protocol::integer_field(message, "status", 0, 255)));
    exited.exit.signal = static_cast<int>(TRY(protocol::integer_field(message, "signal", 0, SIGRTMAX)));
    // No process ends by a signal that stops it, or does nothing; the stand-in would not either.
    if (exited.exit.signal != 0 && !ends_process(exited.exit.signal)) exited.exit.signal = SIGKILL;
    exited.message = std::move(message);
    exited_ = std::move(exited);
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
      case Wake::other:
        call_on_readable();
        break;
    }
  }
}

void Session::call_on_readable() {
  other_fd_ = -1;
  on_readable_();
}

Result<void> Session::attach_stdio(int directory, const Json& created, const Stdio& stdio) {
  auto attach = [&](int fd, Stream::Direction direction, const std::string& name) -> Result<Stream> {
    uint64_t port = number_at(created, "/streams/" + name);
    if (port < 1 || port >= UINT32_MAX) return fail("the guest has no port for " + name, EPROTO);
    return TRY_CONTEXT(Stream::attach(directory, static_cast<uint32_t>(port), direction, fd), name);
  };
  auto attach_input = [&](int fd, const std::string& name) -> Result<void> {
    inputs_.push_back(TRY(attach(fd, Stream::Direction::to_guest, name)));
    return {};
  };
  auto attach_output = [&](int fd, const std::string& name, const std::string& count) -> Result<void> {
    Stream stream = TRY(attach(fd, Stream::Direction::from_guest, name));
    outputs_.push_back({.stream = std::move(stream), .count = "/sent/" + count});
    return {};
  };
  if (stdio.in >= 0) TRY(attach_input(stdio.in, "stdin"));
  if (stdio.out >= 0) TRY(attach_output(stdio.out, "stdout", "stdout"));
  if (stdio.err >= 0) TRY(attach_output(stdio.err, "stderr", "stderr"));
  for (size_t i = 0; i < stdio.passed.size(); i++) {
    const PassedFd& passed = stdio.passed[i];
    std::string name = "passed/" + std::to_string(i);
    if (passed.readable) TRY(attach_input(passed.fd, name + "/in"));
    if (passed.writable) TRY(attach_output(passed.fd, name + "/out", name));
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

void Session::request_flush() {
  for (Output& output : outputs_) {
    if (!output.stream.request_flush(number_at(exited_->message, output.count))) output.ended = true;
  }
}

// Asks about the outputs that are still being written. Returns whether vmm has written since it was asked last, or had
// to wait for a reader.
bool Session::ask_progress() {
  bool moved = false;
  for (Output& output : outputs_) {
    if (output.ended) continue;
    moved = output.stream.take_progress() || moved;
    (void)output.stream.request_progress();  // a channel that has ended is readable
  }
  return moved;
}

// Waits until all output that the guest sent is in the caller's descriptors, however slowly the caller reads. A vmm
// that says nothing, though it could write, is not waited for: it may hang. That is counted in questions and not by the
// clock: while a host's cgroup is frozen nobody answers.
void Session::flush(int signal_fd) {
  request_flush();
  int unanswered = 0;
  auto next_question = Clock::now() + kQuestionInterval;
  for (;;) {
    std::vector<pollfd> fds{{vmm_pidfd_, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    for (const Output& output : outputs_) fds.push_back({output.ended ? -1 : output.stream.fd(), POLLIN, 0});
    if (std::ranges::all_of(outputs_, &Output::ended)) return;
    if (::poll(fds.data(), fds.size(), remaining_ms(next_question)) < 0) continue;
    for (size_t i = 0; i < outputs_.size(); i++) {
      if (fds[i + 2].revents == 0) continue;
      outputs_[i].stream.read_answers();
      outputs_[i].ended = outputs_[i].stream.is_flushed();
    }
    if (fds[0].revents != 0) return;
    if (fds[1].revents != 0) (void)read_signal(signal_fd);  // the process has ended: as for a zombie
    if (remaining_ms(next_question) > 0) continue;
    unanswered = ask_progress() ? 0 : unanswered + 1;
    if (unanswered > kMaxUnanswered) return log_warn("the VM does not write out what the container has sent");
    next_question = Clock::now() + kQuestionInterval;
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
      flush(signal_fd);
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
      case Wake::other:
        call_on_readable();
        break;
      case Wake::vm_ended:
      case Wake::hangup:
      case Wake::timeout:
        return kKilled;
    }
  }
}

}  // namespace nacre::runtime
