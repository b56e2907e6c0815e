// SPDX-License-Identifier: Apache-2.0
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
#include "runtime/state/process_id.h"

namespace nacre::runtime {

namespace {

using Json = protocol::Json;
using Clock = std::chrono::steady_clock;

// Milliseconds from the control connection's end after which vmm counts as ended, even if its process still exists.
constexpr int kVmEndMs = 2'000;

// How often vmm is asked about output that is not written yet. vmm is given up after this many questions in a row
// without a sign of progress.
constexpr std::chrono::milliseconds kQuestionInterval{2'000};
constexpr int kMaxUnanswered = 5;

bool leads_anywhere(int fd) {
  struct stat info;
  if (::fstat(fd, &info) < 0) return false;
  return !(S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3));  // /dev/null
}

// Refuses a directory. vmm would get the descriptor, and could reach every file of the host from it.
Result<void> refuse_directory(int fd, const char* name) {
  struct stat info;
  if (fd >= 0 && ::fstat(fd, &info) == 0 && (S_ISDIR(info.st_mode) || (::fcntl(fd, F_GETFL) & O_PATH) != 0)) {
    return fail(std::string(name) + ": a directory cannot be passed into the VM", EISDIR);
  }
  return {};
}

constexpr size_t kFirstPassed = 3;

// Returns how many bytes the guest has sent from an output of the process.
uint64_t sent_of(const protocol::Sent& sent, size_t number) {
  if (number == STDOUT_FILENO) return sent.out;
  if (number == STDERR_FILENO) return sent.err;
  size_t index = number - kFirstPassed;
  return index < sent.passed.size() ? sent.passed[index] : 0;
}

}  // namespace

Result<Stdio> probe_stdio(const std::optional<Terminal>& terminal, std::vector<PassedFd> passed) {
  Stdio stdio;
  if (terminal) {
    auto end = [&](const Fd& redirected) { return redirected ? redirected.get() : terminal->fd.get(); };
    stdio.in = end(terminal->redirected_in);
    stdio.out = end(terminal->redirected_out);
  } else {
    auto probe = [](int fd) { return leads_anywhere(fd) ? fd : -1; };
    stdio.in = probe(STDIN_FILENO);
    stdio.out = probe(STDOUT_FILENO);
    stdio.err = probe(STDERR_FILENO);
  }
  TRY(refuse_directory(stdio.in, "stdin"));
  TRY(refuse_directory(stdio.out, "stdout"));
  TRY(refuse_directory(stdio.err, "stderr"));
  if (auto file = ReadOnlyFile::reopen(stdio.in)) {
    stdio.in = file->fd();
    stdio.reopened.push_back(std::move(*file));
  }
  for (const PassedFd& given : passed) {
    auto file = ReadOnlyFile::reopen(given.fd);
    if (!file) continue;
    if (::dup3(file->fd(), given.fd, O_CLOEXEC) < 0) return fail_errno("dup3");
    stdio.reopened.push_back(std::move(*file));
  }
  stdio.passed = std::move(passed);
  return stdio;
}

protocol::StdioWanted wanted_stdio(const Stdio& stdio) {
  protocol::StdioWanted wanted{.in = stdio.in >= 0, .out = stdio.out >= 0, .err = stdio.err >= 0, .passed = {}};
  for (const PassedFd& passed : stdio.passed) {
    wanted.passed.push_back({.readable = passed.readable, .writable = passed.writable});
  }
  return wanted;
}

Session::Session(Fd control, std::string container, std::string exec, int vmm_pidfd)
    : control_(std::move(control)), container_(std::move(container)), exec_(std::move(exec)), vmm_pidfd_(vmm_pidfd) {}

Session::Wake Session::wait(int signal_fd, int hangup_fd, int timeout_ms) {
  for (;;) {
    // poll(2) ignores negative descriptors.
    std::vector<pollfd> fds{
        {control_.get(), POLLIN, 0}, {vmm_pidfd_, POLLIN, 0}, {signal_fd, POLLIN, 0}, {hangup_fd, POLLRDHUP, 0}};
    const size_t first_watched = fds.size();
    for (const Watched& watched : watched_) fds.push_back({watched.fd, POLLIN, 0});
    int ready = ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready < 0) continue;  // EINTR: no other error is possible here
    if (ready == 0) return Wake::timeout;
    // What the guest said before the VM ended still counts.
    if (fds[0].revents != 0) return Wake::message;
    if (fds[1].revents != 0) return Wake::vm_ended;
    if (fds[3].revents != 0) return Wake::hangup;
    if (fds[2].revents != 0) return Wake::signal;
    for (size_t i = watched_.size(); i-- > 0;) {
      if (fds[first_watched + i].revents == 0 || watched_[i].handler()) continue;
      watched_.erase(watched_.begin() + static_cast<ptrdiff_t>(i));
    }
    return Wake::watched;
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
    std::string_view type = protocol::type_of(message);
    if (type == protocol::Oom::kType) {
      on_oom_();
    } else if (type == protocol::Ready::kType) {
      on_ready_();
    } else if (type == protocol::Exited::kType) {
      auto told = TRY(protocol::decode<protocol::Exited>(std::move(message)));
      ProcessExit exit{.status = told.exit.status, .signal = told.exit.signal};
      // The guest may name a signal that ends no process. The stand-in could not end by that signal either.
      if (exit.signal != 0 && !ends_process(exit.signal)) exit.signal = SIGKILL;
      exited_ = Exited{.exit = exit, .sent = std::move(told.sent)};
    } else {
      return message;
    }
  }
}

Result<Json> Session::request_json(const Json& message, Patience patience, int hangup_fd) {
  auto without_cpu = [&] { return patience.vmm != 0 ? time_without_cpu(patience.vmm) : std::chrono::milliseconds(0); };
  auto deadline = Clock::now() + std::chrono::milliseconds(patience.timeout_ms);
  const auto deadline_less_waits = deadline - without_cpu();
  // EPIPE means that the VM has ended. The wait below explains why.
  auto sent = protocol::send(control_.get(), message, patience.timeout_ms);
  if (!sent && sent.error().code() != EPIPE) {
    return std::unexpected(sent.error().with_context("request to the guest"));
  }
  for (;;) {
    if (auto reply = TRY(next_reply())) return std::move(*reply);
    switch (wait(-1, hangup_fd, remaining_ms(deadline))) {
      case Wake::message:
        if (!TRY(read_control())) return fail("the guest closed the connection", ECONNRESET);
        break;
      case Wake::vm_ended:
        return fail("the VM ended", ECONNRESET);
      case Wake::hangup:
        return fail("given up by the caller", ECANCELED);
      case Wake::timeout:
        deadline = deadline_less_waits + without_cpu();
        if (Clock::now() < deadline) break;
        return fail("the guest did not answer within " + std::to_string(patience.timeout_ms / 1000) + " s", ETIMEDOUT);
      case Wake::signal:
      case Wake::watched:
        break;
    }
  }
}

Result<void> Session::attach_input(int directory, int fd, uint32_t port) {
  if (port == 0) return fail("the guest has no port for an input", EPROTO);
  inputs_.push_back(TRY(Stream::attach(directory, port, Stream::Direction::to_guest, fd)));
  return {};
}

Result<void> Session::attach_output(int directory, int fd, uint32_t port, size_t number) {
  if (port == 0) return fail("the guest has no port for an output", EPROTO);
  Stream stream = TRY(Stream::attach(directory, port, Stream::Direction::from_guest, fd));
  outputs_.push_back({.stream = std::move(stream), .number = number});
  return {};
}

Result<void> Session::attach_stdio(int directory, const protocol::StreamPorts& ports, Stdio stdio) {
  if (stdio.in >= 0) TRY_CONTEXT(attach_input(directory, stdio.in, ports.in.value_or(0)), "stdin");
  if (stdio.out >= 0) TRY_CONTEXT(attach_output(directory, stdio.out, ports.out.value_or(0), STDOUT_FILENO), "stdout");
  if (stdio.err >= 0) TRY_CONTEXT(attach_output(directory, stdio.err, ports.err.value_or(0), STDERR_FILENO), "stderr");
  for (size_t i = 0; i < stdio.passed.size(); i++) {
    const PassedFd& passed = stdio.passed[i];
    const protocol::Ports port = i < ports.passed.size() ? ports.passed[i] : protocol::Ports();
    std::string name = "descriptor " + std::to_string(kFirstPassed + i);
    if (passed.readable) TRY_CONTEXT(attach_input(directory, passed.fd, port.in), name);
    if (passed.writable) TRY_CONTEXT(attach_output(directory, passed.fd, port.out, kFirstPassed + i), name);
  }
  close_passed_fds(stdio.passed);
  reopened_ = std::move(stdio.reopened);
  return {};
}

void Session::forward_signal(int signal_fd) {
  auto signal = read_signal(signal_fd);
  if (!signal) return;
  if (terminal_ && signal->number == SIGHUP && signal->from_kernel) return;
  if (terminal_ && signal->number == SIGWINCH) {
    WindowSize size = window_size(terminal_.get());
    tell_guest(protocol::Resize{.container = {}, .exec = {}, .rows = size.rows, .columns = size.columns});
  } else {
    tell_guest(protocol::Kill{.container = {}, .exec = {}, .signal = signal->number, .all = false});
  }
}

// Sends a request about this session's process. run() takes the reply.
template <typename Request>
void Session::tell_guest(Request request) {
  request.container = container_;
  if (!exec_.empty()) request.exec = exec_;
  // A guest that does not read must not keep this process from its other work. Such short messages are sent as a whole
  // or not at all.
  auto sent = protocol::send(control_.get(), protocol::encode(request), 0);
  if (!sent) log_debug(std::string(Request::kType) + " not forwarded: " + sent.error().message());
}

void Session::request_flush() {
  for (Output& output : outputs_) {
    if (!output.stream.request_flush(sent_of(exited_->sent, output.number))) output.ended = true;
  }
}

// Asks vmm about the outputs that are still being written. Returns true if vmm has written since the last question, or
// has to wait for a reader.
bool Session::ask_progress() {
  bool moved = false;
  for (Output& output : outputs_) {
    if (output.ended) continue;
    moved = output.stream.take_progress() || moved;
    (void)output.stream.request_progress();  // an error shows below: a channel that has ended is readable
  }
  return moved;
}

// Waits until all output that the guest sent is in the caller's descriptors, however slowly the caller reads. Gives up
// if vmm makes no progress though it could write, because vmm may hang. Progress is counted in questions and not by the
// clock, because nothing moves while the host's cgroup is frozen.
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
    if (fds[1].revents != 0) (void)read_signal(signal_fd);  // dropped: the process has ended, like a zombie
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
      for (const ReadOnlyFile& file : reopened_) file.give_position_back();
      return exited_->exit;
    }
    if (*reply) {  // the reply to a forwarded signal; the sender does not wait for it
      auto done = protocol::decode_reply<protocol::Ok>(std::move(**reply));
      if (!done) log_debug("forwarded: " + done.error().message());
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
      case Wake::watched:
        break;
      case Wake::vm_ended:
      case Wake::hangup:
      case Wake::timeout:
        return kKilled;
    }
  }
}

}  // namespace nacre::runtime
