// SPDX-License-Identifier: Apache-2.0
#include "runtime/cmd/command.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

Result<int> resume(const Globals& globals, const std::string& id) {
  using runtime::ContainerDir, runtime::Status;
  ContainerDir dir = TRY(ContainerDir::open(globals.root, id));
  runtime::Record record = TRY(dir.read_record());
  Fd lock = TRY(dir.lock_named(runtime::kPauseLockName));
  if (dir.status(record) == Status::stopped) return fail("container not paused", EINVAL);
  // Ask the guest, because a command that was killed may have left a wrong mark on the host.
  auto resumed = runtime::ask_running(dir.fd(), protocol::Resume{.container = id});
  if (!resumed && resumed.error().code() != EINVAL) return std::unexpected(resumed.error());
  TRY(dir.mark_paused(false));
  if (!resumed) return std::unexpected(resumed.error());
  return 0;
}

}  // namespace nacre::cmd
