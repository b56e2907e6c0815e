// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "base/log.h"
#include "runtime/cmd/command.h"
#include "runtime/container/remove.h"
#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using runtime::ContainerDir, runtime::Record, runtime::Status;

constexpr int kGuestKillMs = 5'000;

// Asks the guest to end a running container, if the guest answers, so that everything that the container wrote is kept.
void kill_gently(const ContainerDir& dir, const Record& record) {
  const protocol::Kill request{.container = record.id, .exec = {}, .signal = SIGKILL, .all = true};
  auto answer = runtime::ask(dir.fd(), request, kGuestKillMs);
  bool ends = answer || answer.error().code() == ESRCH;  // ESRCH: the container is ending already
  if (!ends || !runtime::wait_for_end(record.standin, kGuestKillMs)) log_debug("the guest did not end in time");
}

}  // namespace

Result<int> remove(const Globals& globals, const DeleteOptions& options) {
  auto locked = ContainerDir::lock(globals.root, options.id);
  if (!locked) {
    if (options.force && locked.error().code() == ENOENT) return 0;
    return std::unexpected(locked.error());
  }
  ContainerDir& dir = *locked;
  auto record = dir.read_record();
  if (!record) {
    // A create that was killed leaves a directory without state.json; as under runc, any delete clears it away.
    bool unfinished = record.error().code() == ENOENT;
    if (!unfinished && !options.force) return std::unexpected(record.error());
    runtime::Processes processes = dir.read_processes();
    TRY(runtime::destroy(dir, processes));
    if (!options.force) return std::unexpected(record.error());
    return 0;
  }
  Status status = dir.status(*record);
  if (status == Status::running || status == Status::paused) {
    if (!options.force) {
      return fail("cannot delete container " + options.id + " that is not stopped: " + std::string(to_string(status)));
    }
    kill_gently(dir, *record);
  }
  TRY(runtime::remove_container(dir, *record));
  return 0;
}

}  // namespace nacre::cmd
