// SPDX-License-Identifier: Apache-2.0
// Runs create and start. In the foreground, also waits, deletes the container, and exits with the container's status.
#include <poll.h>
#include <signal.h>

#include <array>

#include "base/log.h"
#include "base/subprocess.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/logging.h"
#include "runtime/container/create.h"
#include "runtime/container/remove.h"
#include "runtime/container/standin/session.h"

namespace nacre::cmd {

namespace {

using runtime::CreatedContainer;

void remove_container(CreatedContainer& container) {
  auto removed = runtime::remove_container(container.dir, container.record);
  if (!removed) log_warn("clean-up: " + removed.error().message());
}

// Removes the container, unless somebody has deleted it already.
void remove_if_there(CreatedContainer& container) {
  auto locked = container.dir.relock();
  if (!locked) return log_warn("clean-up: " + locked.error().message());
  if (*locked) remove_container(container);
}

// Forwards signals to the stand-in, a child of this process, until the stand-in ends.
Result<ProcessExit> wait_in_foreground(pid_t standin, const Fd& pidfd, int signal_fd) {
  for (;;) {
    std::array<pollfd, 2> fds{{{pidfd.get(), POLLIN, 0}, {signal_fd, POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[0].revents != 0) return wait_for(standin);
    if (auto signal = runtime::read_signal(signal_fd)) (void)signal_pidfd(pidfd.get(), signal->number);
  }
}

}  // namespace

Result<int> run(const Globals& globals, const CreateOptions& options) {
  runtime::CreateRequest request = to_request(globals, options);
  request.foreground = !options.detach;
  request.held = true;
  CreatedContainer container = TRY(runtime::create_container(request));
  Fd signals, pidfd;
  auto started = [&]() -> Result<void> {
    if (!options.detach) {
      signals = TRY(runtime::take_signals());
      pidfd = TRY(open_pidfd(container.record.standin.pid));
    }
    return runtime::start_held(container);
  }();
  if (!started) {
    remove_if_there(container);
    (void)wait_for(container.record.standin.pid);
    return std::unexpected(started.error());
  }
  container.report.reset();
  if (auto hooks = runtime::run_poststart_hooks(container.record); !hooks) {
    (void)wait_for(container.record.standin.pid);
    remove_if_there(container);
    return std::unexpected(hooks.error());
  }
  keep_log();
  if (options.detach) return 0;

  ProcessExit exit = TRY(wait_in_foreground(container.record.standin.pid, pidfd, signals.get()));
  // The stand-in has written to a log file itself, but it has given up its stderr.
  if (globals.log.empty()) {
    if (std::string why = container.dir.read_vm_end(); !why.empty()) log_warn(why);
  }
  if (!options.keep) remove_if_there(container);
  return exit.signal != 0 ? 128 + exit.signal : exit.status;
}

}  // namespace nacre::cmd
