// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/hooks.h"

#include <climits>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/run_program.h"
#include "runtime/guest/connection.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

const Json& hooks_of(const Json& hooks, std::string_view kind) {
  static const Json kNone = Json::array();
  auto found = hooks.find(kind);
  return found == hooks.end() ? kNone : *found;
}

Result<void> run_hook(const Json& hook, const std::string& state) {
  RunOptions options{.path = hook["path"], .args = {}, .environment = {}, .input = state};
  options.args = hook.value("args", std::vector<std::string>{});
  // As under runc: without args, the path is the program's name. Without env, the hook gets the runtime's environment.
  if (options.args.empty()) options.args = {options.path};
  if (hook.contains("env")) options.environment = hook["env"].get<std::vector<std::string>>();
  if (hook.contains("timeout")) {
    options.timeout_ms = static_cast<int>(std::min<int64_t>(hook["timeout"].get<int64_t>() * 1000, INT_MAX));
  }
  return check_outcome(TRY(run_program(options)), options);
}

}  // namespace

bool has_hooks(const Json& hooks, std::string_view kind) {
  return !hooks_of(hooks, kind).empty();
}

std::string hook_state(const Record& record, std::string_view status, pid_t pid) {
  nlohmann::ordered_json state{
      {"ociVersion", record.oci_version}, {"id", record.id}, {"status", status}, {"bundle", record.bundle}};
  if (pid != 0) state["pid"] = pid;
  if (!record.annotations.empty()) state["annotations"] = record.annotations;
  return state.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<void> run_hooks(const Json& hooks, std::string_view kind, const std::string& state) {
  const Json& list = hooks_of(hooks, kind);
  for (size_t i = 0; i < list.size(); i++) {
    TRY_CONTEXT(run_hook(list[i], state), "error running " + std::string(kind) + " hook #" + std::to_string(i));
  }
  return {};
}

void run_late_hooks(const Json& hooks, std::string_view kind, const std::string& state) {
  const Json& list = hooks_of(hooks, kind);
  for (size_t i = 0; i < list.size(); i++) {
    auto done = run_hook(list[i], state);
    if (done) continue;
    log_warn("error running " + std::string(kind) + " hook #" + std::to_string(i) + ": " + done.error().message());
  }
}

int start_timeout_ms(const Json& hooks) {
  int64_t total = kRequestTimeoutMs;
  for (const Json& hook : hooks_of(hooks, "startContainer")) {
    if (!hook.contains("timeout")) return INT_MAX;
    total += hook["timeout"].get<int64_t>() * 1000;
  }
  return static_cast<int>(std::min<int64_t>(total, INT_MAX));
}

}  // namespace nacre::runtime
