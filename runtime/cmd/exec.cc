// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/cmd/command.h"
#include "runtime/config/config.h"
#include "runtime/config/schema.h"
#include "runtime/container/exec.h"
#include "runtime/plan/passes.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using Json = nlohmann::json;

// Sets the user from "UID[:GID]".
Result<void> set_user(Json& user, const std::string& text) {
  size_t colon = text.find(':');
  auto number = [&](std::string_view part, const char* name) -> Result<uint32_t> {
    uint32_t value = 0;
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size()) {
      return fail("--user: " + std::string(name) + " \"" + std::string(part) + "\" is not a number", EINVAL);
    }
    return value;
  };
  std::string_view view = text;
  user["uid"] = TRY(number(view.substr(0, colon), "uid"));
  if (colon != std::string::npos) user["gid"] = TRY(number(view.substr(colon + 1), "gid"));
  return {};
}

// Makes the process from the container's first process, as runc does, changed by the options.
Result<Json> from_container(const runtime::View& view, const ExecOptions& options) {
  if (view.status == runtime::Status::stopped) return fail("cannot exec in a stopped container", ESRCH);
  std::string text = TRY(read_file(view.record.config));
  Json config = TRY(oci::parse_json(text, oci::kConfigName));
  oci::normalize(config, oci::config_fields());
  Json process = config.is_object() ? config.value("process", Json::object()) : Json();
  if (!process.is_object()) return fail("config.json: process: must be an object", EINVAL);
  process["terminal"] = false;
  process["args"] = options.args;
  return process;
}

Result<void> apply(Json& process, const ExecOptions& options) {
  if (!options.cwd.empty()) process["cwd"] = options.cwd;
  for (const auto& variable : options.env) process["env"].push_back(variable);
  if (!options.user.empty()) TRY(set_user(process["user"], options.user));
  for (uint32_t gid : options.additional_gids) process["user"]["additionalGids"].push_back(gid);
  for (const auto& capability : options.capabilities) {
    Json& sets = process["capabilities"];
    for (const char* set : {"bounding", "effective", "permitted"}) sets[set].push_back(capability);
    // A capability can be ambient only if it is inheritable.
    if (sets.contains("inheritable") && !sets["inheritable"].empty()) sets["ambient"].push_back(capability);
  }
  if (options.no_new_privs) process["noNewPrivileges"] = true;
  if (options.tty) process["terminal"] = true;
  if (!options.apparmor.empty()) process["apparmorProfile"] = options.apparmor;
  if (!options.process_label.empty()) process["selinuxLabel"] = options.process_label;
  return {};
}

// Parses --cgroup: returns the path below the container's cgroup, "" for the container's cgroup itself. Errors use
// runc's words. A path for each controller is only possible with cgroup v1, and refused.
Result<std::optional<std::string>> sub_cgroup(const std::vector<std::string>& arguments) {
  for (const auto& argument : arguments) {
    size_t colon = argument.find(':');
    if (colon != std::string::npos && argument.find(':', colon + 1) != std::string::npos) {
      return fail("invalid --cgroup argument: " + argument, EINVAL);
    }
    if (colon == std::string::npos && arguments.size() > 1) {
      return fail("invalid --cgroup argument: " + argument + " (missing <controller>: prefix)", EINVAL);
    }
  }
  if (arguments.empty()) return std::nullopt;
  size_t colon = arguments[0].find(':');
  if (colon != std::string::npos && colon > 0) {
    return fail("unknown controller " + arguments[0].substr(0, arguments[0].find_first_of(",:")) + " in SubCgroupPaths",
                EINVAL);
  }
  std::string path = colon == 0 ? arguments[0].substr(1) : arguments[0];
  std::string normal = std::filesystem::path("x/" + path).lexically_normal().string();
  while (normal.ends_with('/')) normal.pop_back();
  if (normal != "x" && !normal.starts_with("x/"))
    return fail("bad sub cgroup path: " + path + " is not a sub cgroup path", EINVAL);
  return normal.size() > 2 ? normal.substr(2) : "";
}

// Gives the process the caller's groups if an annotation of the container says so.
Result<void> keep_groups(const runtime::Record& record, Json& process) {
  Json mappings;
  if (!record.mappings.empty()) {
    mappings = TRY(oci::parse_json(record.mappings, "state.json: mappings")).value("gidMappings", Json());
  }
  runtime::keep_original_groups(process, record.annotations, runtime::own_groups(), mappings);
  return {};
}

Result<std::pair<Json, Confinement>> make_process(const Globals& globals, const ExecOptions& options) {
  runtime::View container = TRY(runtime::view_container(globals.root, options.id));
  Json process;
  std::string name = "process";
  if (!options.process.empty()) {
    name = options.process;
    process = TRY(oci::parse_json(TRY(read_file(options.process)), name));
    oci::normalize(process, oci::process_fields());
    TRY(oci::check_process(process, name));
  } else {
    process = TRY(from_container(container, options));
    TRY(oci::check_process(process, name));  // the container may have changed since create
    TRY(apply(process, options));
    TRY(oci::check_process(process, name));
  }
  runtime::inherit_rlimits(process, runtime::own_rlimits());
  TRY(keep_groups(container.record, process));
  std::vector<std::string> warnings;
  Confinement confinement = oci::take_confinement(process, warnings);
  TRY(oci::restrict_process(process, warnings));
  for (const auto& warning : warnings) log_warn(warning);
  return std::pair(std::move(process), std::move(confinement));
}

}  // namespace

Result<int> exec(const Globals& globals, const ExecOptions& options) {
  if (options.args.empty() && options.process.empty()) return fail("process args cannot be empty");
  auto [process, confinement] = TRY(make_process(globals, options));
  auto sub = TRY(sub_cgroup(options.cgroups));
  runtime::PassedFds passed = TRY(runtime::take_passed_fds(options.preserve_fds));
  runtime::tell_listen_fds(process, passed.listen);
  runtime::ExecRequest request{.root = globals.root,
                               .id = options.id,
                               .process = std::move(process),
                               .confinement = std::move(confinement),
                               .pid_file = options.pid_file,
                               .console_socket = options.console_socket,
                               .pidfd_socket = options.pidfd_socket,
                               .ignore_paused = options.ignore_paused,
                               .sub_cgroup = std::move(sub),
                               .passed_fds = std::move(passed.fds)};
  if (options.detach) {
    TRY(runtime::exec_detached(request));
    return 0;
  }
  ProcessExit exit = TRY(runtime::exec_foreground(request));
  return exit.signal != 0 ? 128 + exit.signal : exit.status;
}

}  // namespace nacre::cmd
