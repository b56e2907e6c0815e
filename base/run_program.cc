// SPDX-License-Identifier: Apache-2.0
#include "base/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>

namespace nacre {

namespace {

// Signals in Go's words, such as "bad system call", because callers of runc know these.
std::string signal_name(int signal) {
  const char* known = ::sigdescr_np(signal);
  if (known == nullptr) return "signal " + std::to_string(signal);
  std::string name = known;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

using Clock = std::chrono::steady_clock;

// Returns the reading end of a pipe that already holds all of `input`.
Result<Fd> filled_pipe(const std::string& input) {
  Pipe pipe = TRY(make_pipe());
  int size = static_cast<int>(input.size());
  if (::fcntl(pipe.write.get(), F_GETPIPE_SZ) < size && ::fcntl(pipe.write.get(), F_SETPIPE_SZ, size) < 0) {
    return fail_errno("input of " + std::to_string(size) + " bytes for a pipe");
  }
  TRY(set_nonblocking(pipe.write.get(), true));
  TRY(write_all(pipe.write.get(), input));
  return std::move(pipe.read);
}

// Reads what is available. Closes `fd` at the end of file.
void collect(Fd& fd, std::string& text) {
  std::array<char, 4096> chunk;
  while (fd) {
    ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      fd.reset();
    } else {
      text.append(chunk.data(), std::min(static_cast<size_t>(n), kMaxRunOutput - text.size()));
    }
  }
}

int remaining_ms(const std::optional<Clock::time_point>& deadline) {
  if (!deadline) return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

}  // namespace

Result<void> check_outcome(const RunOutcome& outcome, const RunOptions& options) {
  if (outcome.succeeded()) return {};
  std::string how = outcome.timed_out
                        ? "ran longer than its timeout of " + std::to_string(options.timeout_ms / 1000) + " s"
                    : outcome.exit.signal != 0 ? "signal: " + signal_name(outcome.exit.signal)
                                               : "exit status " + std::to_string(outcome.exit.status);
  return fail(how + ", stdout: " + outcome.out + ", stderr: " + outcome.err);
}

Result<RunOutcome> run_program(const RunOptions& options) {
  Fd in = TRY(filled_pipe(options.input));
  Pipe out = TRY(make_pipe()), err = TRY(make_pipe());
  TRY(set_nonblocking(out.read.get(), true));
  TRY(set_nonblocking(err.read.get(), true));
  std::optional<Clock::time_point> deadline;
  if (options.timeout_ms >= 0) deadline = Clock::now() + std::chrono::milliseconds(options.timeout_ms);
  Child child = TRY(spawn({.path = options.path,
                           .args = options.args,
                           .environment = options.environment,
                           .fds = {{in.get(), 0}, {out.write.get(), 1}, {err.write.get(), 2}}}));
  in.reset();
  out.write.reset();
  err.write.reset();

  RunOutcome outcome;
  for (bool ended = false; !ended;) {
    std::array<pollfd, 3> fds{
        {{child.pidfd.get(), POLLIN, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
    int ready = ::poll(fds.data(), fds.size(), remaining_ms(deadline));
    if (ready < 0) continue;  // EINTR
    ended = fds[0].revents != 0;
    if (ready == 0) {
      outcome.timed_out = ended = true;
      (void)signal_pidfd(child.pidfd.get(), SIGKILL);
    }
    collect(out.read, outcome.out);
    collect(err.read, outcome.err);
  }
  outcome.exit = TRY(wait_for(child));
  collect(out.read, outcome.out);
  collect(err.read, outcome.err);
  return outcome;
}

}  // namespace nacre
