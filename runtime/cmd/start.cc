// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "runtime/cmd/command.h"
#include "runtime/config/config.h"
#include "runtime/container/hooks.h"
#include "runtime/container/remove.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

Result<int> start(const Globals& globals, const std::string& id) {
  using runtime::ContainerDir, runtime::Status;
  ContainerDir dir = TRY(ContainerDir::lock(globals.root, id));
  runtime::Record record = TRY(dir.read_record());
  Status status = dir.status(record);
  switch (status) {
    case Status::created:
    case Status::running:  // the guest knows whether the process really runs
      break;
    case Status::paused:
      return fail("cannot start a container in the paused state");
    case Status::stopped:
      return fail("cannot start a container that has stopped");
  }
  nlohmann::json hooks = TRY(oci::parse_json(record.hooks, "hooks"));
  int timeout_ms = runtime::start_timeout_ms(hooks);
  Fd control = TRY(runtime::explained(runtime::connect_control(dir.fd(), timeout_ms), dir, record.standin));
  // Marked before the guest is asked: if this command is killed, or the guest answers too late, the program may run.
  TRY(dir.mark_started());
  // Given up here: a startContainer hook may take any time, and the container can be deleted meanwhile.
  dir.release_lock();
  auto started = TRY(runtime::explained(runtime::exchange(control.get(), protocol::Start{.container = id}, timeout_ms),
                                        dir, record.standin));
  if (!started) {
    if (status == Status::created && TRY(dir.relock())) TRY(dir.mark_started(false));
    return std::unexpected(started.error());
  }
  TRY(runtime::run_poststart_hooks(record));
  return 0;
}

}  // namespace nacre::cmd
