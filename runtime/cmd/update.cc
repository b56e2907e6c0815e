#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/agent/connection.h"
#include "runtime/cmd/command.h"
#include "runtime/oci/config.h"
#include "runtime/oci/schema.h"
#include "runtime/state/store.h"
#include "runtime/update/kept_resources.h"
#include "vmm/api/config.h"

namespace nacre::cmd {

namespace {

using Json = nlohmann::json;
using runtime::ContainerDir;

constexpr size_t kMaxInput = 1 << 20;

Result<Json> read_input(const UpdateOptions& options) {
  // Intel RDT is of the host's CPU; runc's words where there is none.
  if (!options.l3_cache_schema.empty()) return fail("Intel RDT/CAT: l3 cache schema is not enabled", ENOTSUP);
  if (!options.mem_bw_schema.empty()) return fail("Intel RDT/MBA: memory bandwidth schema is not enabled", ENOTSUP);
  if (options.resources.empty()) return update::from_flags(options.flags);
  bool from_stdin = options.resources == "-";
  std::string text = TRY(from_stdin ? read_fd(STDIN_FILENO, kMaxInput) : read_file(options.resources, kMaxInput));
  Json resources = TRY(oci::parse_json(text, from_stdin ? "stdin" : options.resources));
  oci::drop_nulls(resources);
  return resources;
}

// vmm's own configuration says what the VM has.
void fit_to_vm(const ContainerDir& dir, Json& changes, std::vector<std::string>& warnings) {
  auto config = [&]() -> Result<vmm::Config> {
    return vmm::parse_toml(TRY(read_file(dir.file(runtime::kVmmConfigName))));
  }();
  if (config) {
    update::fit(changes, {.memory = config->memory, .cpus = config->cpus}, warnings);
  } else {
    log_debug("size of the VM: " + config.error().message());
  }
}

}  // namespace

Result<int> update(const Globals& globals, const UpdateOptions& options) {
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  runtime::Record record = TRY(dir.read_record());
  std::vector<std::string> warnings;
  Json changes = TRY(update::check_changes(TRY(read_input(options)), warnings));
  fit_to_vm(dir, changes, warnings);
  // Updates go one after another; other commands wait for none.
  Fd lock = TRY(dir.lock_named(runtime::kUpdateLockName));
  if (dir.status(record) == runtime::Status::stopped) return fail(runtime::kNotRunning, ESRCH);
  auto [apply, keep] = update::merge(TRY(update::kept_resources(dir)), changes);
  for (const auto& warning : warnings) log_warn(warning);
  TRY(runtime::ask_running(dir.fd(), {{"type", "update"}, {"container", options.id}, {"resources", apply}}));
  TRY(update::keep_resources(dir, keep));
  return 0;
}

}  // namespace nacre::cmd
