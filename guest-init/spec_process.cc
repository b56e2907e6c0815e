#include <linux/capability.h>

#include <array>
#include <string_view>

#include "base/log.h"
#include "guest-init/spec.h"

namespace nacre::guest {

namespace {

// capabilities(7); a name's place is its number.
constexpr std::array<std::string_view, 41> kCapabilityNames = {"CAP_CHOWN",
                                                               "CAP_DAC_OVERRIDE",
                                                               "CAP_DAC_READ_SEARCH",
                                                               "CAP_FOWNER",
                                                               "CAP_FSETID",
                                                               "CAP_KILL",
                                                               "CAP_SETGID",
                                                               "CAP_SETUID",
                                                               "CAP_SETPCAP",
                                                               "CAP_LINUX_IMMUTABLE",
                                                               "CAP_NET_BIND_SERVICE",
                                                               "CAP_NET_BROADCAST",
                                                               "CAP_NET_ADMIN",
                                                               "CAP_NET_RAW",
                                                               "CAP_IPC_LOCK",
                                                               "CAP_IPC_OWNER",
                                                               "CAP_SYS_MODULE",
                                                               "CAP_SYS_RAWIO",
                                                               "CAP_SYS_CHROOT",
                                                               "CAP_SYS_PTRACE",
                                                               "CAP_SYS_PACCT",
                                                               "CAP_SYS_ADMIN",
                                                               "CAP_SYS_BOOT",
                                                               "CAP_SYS_NICE",
                                                               "CAP_SYS_RESOURCE",
                                                               "CAP_SYS_TIME",
                                                               "CAP_SYS_TTY_CONFIG",
                                                               "CAP_MKNOD",
                                                               "CAP_LEASE",
                                                               "CAP_AUDIT_WRITE",
                                                               "CAP_AUDIT_CONTROL",
                                                               "CAP_SETFCAP",
                                                               "CAP_MAC_OVERRIDE",
                                                               "CAP_MAC_ADMIN",
                                                               "CAP_SYSLOG",
                                                               "CAP_WAKE_ALARM",
                                                               "CAP_BLOCK_SUSPEND",
                                                               "CAP_AUDIT_READ",
                                                               "CAP_PERFMON",
                                                               "CAP_BPF",
                                                               "CAP_CHECKPOINT_RESTORE"};
static_assert(kCapabilityNames.size() == CAP_CHECKPOINT_RESTORE + 1);

struct NamedResource {
  std::string_view name;
  int resource;
};

constexpr NamedResource kRlimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK}};

constexpr int64_t kMaxId = 0xfffffffe;  // -1 is "none" to the kernel

Result<uint64_t> capability_set(const Field& capabilities, std::string_view name) {
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

Result<Capabilities> parse_capabilities(const Field& field) {
  // Without the object there are none at all, as in runc.
  return Capabilities{
      .bounding = TRY(capability_set(field, "bounding")),
      .effective = TRY(capability_set(field, "effective")),
      .permitted = TRY(capability_set(field, "permitted")),
      .inheritable = TRY(capability_set(field, "inheritable")),
      .ambient = TRY(capability_set(field, "ambient")),
  };
}

Result<std::vector<Rlimit>> parse_rlimits(const Field& field) {
  std::vector<Rlimit> rlimits;
  for (const Field& entry : TRY(field.list())) {
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

Result<void> parse_user(const Field& user, ProcessSpec& process) {
  process.uid = static_cast<uid_t>(TRY(TRY(user.member("uid")).integer(0, kMaxId, 0)));
  process.gid = static_cast<gid_t>(TRY(TRY(user.member("gid")).integer(0, kMaxId, 0)));
  process.umask = static_cast<mode_t>(TRY(TRY(user.member("umask")).integer(0, 0777, 0022)));
  for (const Field& group : TRY(TRY(user.member("additionalGids")).list())) {
    process.groups.push_back(static_cast<gid_t>(TRY(group.integer(0, kMaxId))));
  }
  return {};
}

}  // namespace

Result<ProcessSpec> parse_process(const Field& field) {
  ProcessSpec process;
  if (!field.present()) return field.fails("is missing");
  if (TRY(TRY(field.member("terminal")).boolean(false))) {
    Field size = TRY(field.member("consoleSize"));
    process.terminal.emplace();
    process.terminal->rows = static_cast<uint16_t>(TRY(TRY(size.member("height")).integer(0, UINT16_MAX, 0)));
    process.terminal->columns = static_cast<uint16_t>(TRY(TRY(size.member("width")).integer(0, UINT16_MAX, 0)));
  }
  for (const char* name : {"scheduler", "ioPriority", "execCPUAffinity"}) {
    Field other = TRY(field.member(name));
    if (other.asks()) return fail(other.path() + " is not supported by this version", ENOTSUP);
  }
  for (const char* name : {"apparmorProfile", "selinuxLabel"}) {
    Field label = TRY(field.member(name));
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
  Field score = TRY(field.member("oomScoreAdj"));
  if (score.present()) process.oom_score_adj = static_cast<int>(TRY(score.integer(-1000, 1000)));
  return process;
}

}  // namespace nacre::guest
