// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <chrono>

#include "base/subprocess.h"
#include "runtime/cmd/command.h"
#include "runtime/container/signal_names.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using runtime::ContainerDir, runtime::Record, runtime::Status;

// If the guest has not ended the container within this time, the stand-in is killed.
constexpr std::chrono::milliseconds kKillTimeout{10'000};
constexpr int kKilledMs = 5'000;  // the stand-in ends within this time after SIGKILL
// A VM that refuses connections is about to end, or overloaded: its end is awaited this long.
constexpr int kEndMs = 1'000;

// The error of a container whose processes are all gone. With `--all` there is no error, as under runc: callers
// use it to make sure that nothing runs.
Result<int> not_running(const KillOptions& options) {
  if (options.all) return 0;
  return fail(runtime::kNotRunning, ESRCH);
}

// Passes the signal to the guest. Returns false if the process had ended before.
Result<bool> deliver(const ContainerDir& dir, const protocol::Kill& request, int timeout_ms) {
  Fd control = TRY(runtime::connect_control(dir.fd(), timeout_ms));
  auto answer = runtime::exchange(control.get(), request, timeout_ms);
  if (!answer) {
    // The VM may end with the process before it has answered.
    int code = answer.error().code();
    if (code == ECONNRESET || code == EPIPE) return true;
    return std::unexpected(answer.error());
  }
  if (*answer) return true;
  if (answer->error().code() == ESRCH) return false;
  return std::unexpected(answer->error());
}

// Ends the container. The guest does so if it can, so that everything that the processes wrote is kept. The guest's
// answer proves nothing: only the end of the stand-in does.
Result<int> kill_surely(const ContainerDir& dir, const Record& record, const protocol::Kill& request,
                        const KillOptions& options) {
  auto deadline = std::chrono::steady_clock::now() + kKillTimeout;
  bool delivered = deliver(dir, request, runtime::remaining_ms(deadline)).value_or(false);
  if (!runtime::wait_for_end(record.standin, runtime::remaining_ms(deadline))) {
    TRY(runtime::kill_and_wait(record.standin, kKilledMs));
    return 0;
  }
  if (!delivered) return not_running(options);
  return 0;
}

}  // namespace

Result<int> kill(const Globals& globals, const KillOptions& options) {
  int signal = TRY(runtime::parse_signal(options.signal));
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  Record record = TRY(dir.read_record());
  if (dir.status(record) == Status::stopped) return not_running(options);
  if (signal == 0) return 0;
  const protocol::Kill request{.container = options.id, .exec = {}, .signal = signal, .all = options.all};
  if (signal == SIGKILL) return kill_surely(dir, record, request, options);
  auto delivered = deliver(dir, request, runtime::kRequestTimeoutMs);
  // If the process has ended, the stand-in is still writing its output.
  if (delivered) return *delivered ? Result<int>(0) : not_running(options);
  int code = delivered.error().code();
  bool refused = code == ECONNREFUSED || code == ENOENT || code == ECONNRESET;
  if (refused && runtime::wait_for_end(record.standin, kEndMs)) return not_running(options);
  return std::unexpected(delivered.error());
}

}  // namespace nacre::cmd
