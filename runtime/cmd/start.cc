#include <nlohmann/json.hpp>

#include "runtime/agent/connection.h"
#include "runtime/cmd/command.h"
#include "runtime/hooks/hooks.h"
#include "runtime/lifecycle/create.h"
#include "runtime/oci/config.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

Result<int> start(const Globals& globals, const std::string& id) {
  using runtime::ContainerDir, runtime::Status;
  ContainerDir dir = TRY(ContainerDir::lock(globals.root, id));
  runtime::Record record = TRY(dir.read_record());
  switch (dir.status(record)) {
    case Status::created:
      break;
    case Status::running:
      return fail("cannot start an already running container");
    case Status::paused:
      return fail("cannot start a container in the paused state");
    case Status::stopped:
      return fail("cannot start a container that has stopped");
  }
  nlohmann::json hooks = TRY(oci::parse_json(record.hooks, "hooks"));
  TRY(runtime::ask(dir.fd(), {{"type", "start"}, {"container", id}}, runtime::start_timeout_ms(hooks)));
  TRY(dir.mark_started());
  dir.forget_lock();
  TRY(runtime::run_poststart_hooks(record));
  return 0;
}

}  // namespace nacre::cmd
