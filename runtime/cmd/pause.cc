// SPDX-License-Identifier: Apache-2.0
#include "runtime/cmd/command.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

Result<int> pause(const Globals& globals, const std::string& id) {
  using runtime::ContainerDir, runtime::Status;
  ContainerDir dir = TRY(ContainerDir::open(globals.root, id));
  runtime::Record record = TRY(dir.read_record());
  // Not the container's lock: a start command that has just been frozen may hold it.
  Fd lock = TRY(dir.lock_named(runtime::kPauseLockName));
  Status status = dir.status(record);
  if (status == Status::stopped || status == Status::paused) return fail(runtime::kNotRunning, ESRCH);
  TRY(runtime::ask_running(dir.fd(), protocol::Pause{.container = id}));
  TRY(dir.mark_paused(true));
  return 0;
}

}  // namespace nacre::cmd
