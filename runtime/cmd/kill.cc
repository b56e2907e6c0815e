#include <signal.h>

#include <nlohmann/json.hpp>

#include "base/subprocess.h"
#include "runtime/cmd/command.h"
#include "runtime/container/signal_names.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

// A guest that does not kill within this time is killed itself.
constexpr int kKillTimeoutMs = 10'000;
// A VM that refuses connections is about to end, or is asked too much.
constexpr int kEndMs = 1'000;

}  // namespace

Result<int> kill(const Globals& globals, const KillOptions& options) {
  using runtime::ContainerDir, runtime::Status;
  int signal = TRY(runtime::parse_signal(options.signal));
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  runtime::Record record = TRY(dir.read_record());
  // All processes of a stopped container are gone: as runc, for callers that make sure of it.
  auto not_running = [&]() -> Result<int> {
    if (options.all) return 0;
    return fail(runtime::kNotRunning, ESRCH);
  };
  if (dir.status(record) == Status::stopped) return not_running();
  if (signal == 0) return 0;
  // Through the guest, so that what the processes wrote is kept; a stand-in that is killed takes the VM down at once.
  auto answer =
      runtime::ask(dir.fd(), {{"type", "kill"}, {"container", options.id}, {"signal", signal}, {"all", options.all}},
                   signal == SIGKILL ? kKillTimeoutMs : runtime::kRequestTimeoutMs);
  if (answer) return 0;
  int code = answer.error().code();
  // Its process has ended, and the stand-in still takes its output and its files.
  if (code == ESRCH) return not_running();
  if (signal == SIGKILL) {
    auto standin = runtime::open_process(record.standin);
    if (!standin || !signal_pidfd(standin->get(), SIGKILL)) return not_running();
    return 0;
  }
  bool refused = code == ECONNREFUSED || code == ENOENT || code == ECONNRESET;
  if (refused && runtime::wait_for_end(record.standin, kEndMs)) return not_running();
  return std::unexpected(answer.error());
}

}  // namespace nacre::cmd
