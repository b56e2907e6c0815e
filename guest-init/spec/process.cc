// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "base/log.h"
#include "guest-init/spec/spec.h"
#include "oci/capability_names.h"
#include "oci/rlimit_names.h"

namespace nacre::guest {

namespace {

using oci::kCapabilityNames;
using oci::kRlimits;
using oci::NamedResource;

constexpr int64_t kMaxUserId = 0xfffffffe;  // -1 is "none" to the kernel

Result<uint64_t> capability_set(const JsonField& capabilities, std::string_view name) {
  uint64_t set = 0;
  for (const std::string& text : TRY(TRY(capabilities.member(name)).strings())) {
    size_t number = 0;
    while (number < kCapabilityNames.size() && kCapabilityNames[number] != text) number++;
    if (number < kCapabilityNames.size()) {
      set |= 1ull << number;
    } else {
      // The specification: capabilities that cannot be granted are a warning (config.md, "process").
      log_warn("ignoring unknown capability " + text);
    }
  }
  return set;
}

Result<Capabilities> parse_capabilities(const JsonField& field) {
  // Without the object there are none at all, as in runc.
  return Capabilities{
      .bounding = TRY(capability_set(field, "bounding")),
      .effective = TRY(capability_set(field, "effective")),
      .permitted = TRY(capability_set(field, "permitted")),
      .inheritable = TRY(capability_set(field, "inheritable")),
      .ambient = TRY(capability_set(field, "ambient")),
  };
}

Result<std::vector<Rlimit>> parse_rlimits(const JsonField& field) {
  std::vector<Rlimit> rlimits;
  for (const JsonField& entry : TRY(field.list())) {
    Rlimit limit{};
    limit.name = TRY(TRY(entry.member("type")).string());
    const NamedResource* found = nullptr;
    for (const auto& candidate : kRlimits) {
      if (candidate.name == limit.name) found = &candidate;
    }
    if (found == nullptr) return entry.fails("has the unknown type \"" + limit.name + "\"");
    for (const Rlimit& other : rlimits) {
      if (other.resource == found->resource) return entry.fails("repeats " + limit.name);
    }
    limit.resource = found->resource;
    limit.limit.rlim_cur = TRY(TRY(entry.member("soft")).unsigned_integer(0));
    limit.limit.rlim_max = TRY(TRY(entry.member("hard")).unsigned_integer(0));
    rlimits.push_back(std::move(limit));
  }
  return rlimits;
}

Result<void> parse_user(const JsonField& user, ProcessSpec& process) {
  process.uid = static_cast<uid_t>(TRY(TRY(user.member("uid")).integer(0, kMaxUserId, 0)));
  process.gid = static_cast<gid_t>(TRY(TRY(user.member("gid")).integer(0, kMaxUserId, 0)));
  process.umask = static_cast<mode_t>(TRY(TRY(user.member("umask")).integer(0, 0777, 0022)));
  for (const JsonField& group : TRY(TRY(user.member("additionalGids")).list())) {
    process.groups.push_back(static_cast<gid_t>(TRY(group.integer(0, kMaxUserId))));
  }
  return {};
}

}  // namespace

Result<ProcessSpec> parse_process(const JsonField& field) {
  ProcessSpec process;
  if (!field.present()) return field.fails("is missing");
  if (TRY(TRY(field.member("terminal")).boolean(false))) {
    JsonField size = TRY(field.member("consoleSize"));
    process.terminal.emplace();
    process.terminal->rows = static_cast<uint16_t>(TRY(TRY(size.member("height")).integer(0, UINT16_MAX, 0)));
    process.terminal->columns = static_cast<uint16_t>(TRY(TRY(size.member("width")).integer(0, UINT16_MAX, 0)));
  }
  for (const char* name : {"apparmorProfile", "selinuxLabel"}) {
    JsonField label = TRY(field.member(name));
    if (label.asks()) log_warn("ignoring " + label.path() + ": this kernel has no such security module");
  }
  process.args = TRY(TRY(field.member("args")).strings());
  if (process.args.empty() || process.args[0].empty()) return fail("process.args names no program", EINVAL);
  process.env = TRY(TRY(field.member("env")).strings());
  for (const std::string& variable : process.env) {
    if (variable.find('=') == std::string::npos || variable[0] == '=') {
      return fail("invalid environment variable \"" + variable + "\" in " + field.path() + ".env", EINVAL);
    }
  }
  process.cwd = TRY(TRY(field.member("cwd")).string("/"));
  if (process.cwd.empty()) process.cwd = "/";
  if (process.cwd[0] != '/') return field.fails("cwd is not an absolute path");
  TRY(parse_user(TRY(field.member("user")), process));
  process.capabilities = TRY(parse_capabilities(TRY(field.member("capabilities"))));
  process.rlimits = TRY(parse_rlimits(TRY(field.member("rlimits"))));
  process.no_new_privileges = TRY(TRY(field.member("noNewPrivileges")).boolean(false));
  JsonField score = TRY(field.member("oomScoreAdj"));
  if (score.present()) process.oom_score_adj = static_cast<int>(TRY(score.integer(-1000, 1000)));
  process.scheduler = TRY(parse_scheduler(TRY(field.member("scheduler"))));
  process.io_priority = TRY(parse_io_priority(TRY(field.member("ioPriority"))));
  JsonField affinity = TRY(field.member("execCPUAffinity"));
  process.initial_cpus = TRY(parse_cpus(TRY(affinity.member("initial"))));
  process.final_cpus = TRY(parse_cpus(TRY(affinity.member("final"))));
  return process;
}

Result<void> check_user(const ProcessSpec& process, const ContainerSpec& container) {
  if (!(container.namespaces & CLONE_NEWUSER)) return {};
  constexpr const char* kWhy = " to unmapped user in user namespace";  // runc's words
  if (!outside_id(container.user.uids, process.uid)) return fail(std::string("cannot set uid") + kWhy, EINVAL);
  if (!outside_id(container.user.gids, process.gid)) return fail(std::string("cannot set gid") + kWhy, EINVAL);
  return {};
}

}  // namespace nacre::guest
