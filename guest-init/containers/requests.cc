#include <sys/ioctl.h>
#include <sys/mount.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "base/log.h"
#include "guest-init/child/channel.h"
#include "guest-init/containers/table.h"

// The requests. What becomes of a process afterwards is in table.cc.

namespace nacre::guest {

namespace {

constexpr size_t kMaxName = 255;

// Names become names of cgroups, and stand in log lines.
Result<std::string> name_field(const Json& request, std::string_view field) {
  std::string name = TRY(protocol::string_field(request, field));
  bool good = !name.empty() && name.size() <= kMaxName && name != "." && name != "..";
  for (char c : name) {
    good =
        good && (std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_+-.").find(c) != std::string::npos);
  }
  if (!good) return fail("invalid " + std::string(field) + " name", EINVAL);
  return name;
}

Result<StdioWanted> stdio_fields(const Json& request) {
  StdioWanted stdio;
  stdio.open[0] = TRY(protocol::bool_field(request, "stdin"));
  stdio.open[1] = TRY(protocol::bool_field(request, "stdout"));
  stdio.open[2] = TRY(protocol::bool_field(request, "stderr"));
  auto passed = request.find("passed");
  if (passed == request.end()) return stdio;
  if (!passed->is_array() || passed->size() > protocol::kMaxPassed) return fail("invalid passed", EINVAL);
  for (const Json& uses : *passed) {
    if (uses != "r" && uses != "w" && uses != "rw") return fail("invalid passed", EINVAL);
    stdio.passed.push_back({.readable = uses != "w", .writable = uses != "r"});
  }
  return stdio;
}

Result<void> terminal_fields(const Json& request, ProcessSpec& process) {
  if (!process.terminal) return {};
  if (request.contains("newlines")) process.terminal->newlines = TRY(protocol::bool_field(request, "newlines"));
  if (request.contains("hangsUp")) process.terminal->hangs_up = TRY(protocol::bool_field(request, "hangsUp"));
  return {};
}

// As runc decides it: root of a user namespace, where it sees its cgroup as the top, and may write there.
bool owns_cgroup(const ContainerSpec& spec) {
  constexpr uint64_t kNeeded = CLONE_NEWUSER | CLONE_NEWCGROUP;
  return (spec.namespaces & kNeeded) == kNeeded && std::ranges::any_of(spec.mounts, [](const MountSpec& mount) {
           return mount.type == "cgroup2" && !((mount.set | mount.deep_set) & MOUNT_ATTR_RDONLY);
         });
}

Field optional_field(const Json& request, const char* name) {
  auto found = request.find(name);
  return Field(found == request.end() ? nullptr : &*found, name);
}

Json ok() {
  return Json{{"type", "ok"}};
}

bool ends_a_process(int signal) {
  constexpr int kOthers[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
  return signal != 0 && std::find(std::begin(kOthers), std::end(kOthers), signal) == std::end(kOthers);
}

}  // namespace

Result<Container*> ContainerTable::find(const Json& request) {
  std::string id = TRY(protocol::string_field(request, "container"));
  auto found = containers_.find(id);
  // Half-made ones are nobody's business yet.
  if (found == containers_.end() || found->second->first.state == Process::State::setting_up) {
    return fail("container \"" + id + "\" does not exist", ENOENT);
  }
  return found->second.get();
}

Result<Process*> ContainerTable::find_process(Container& container, const Json& request) {
  if (!request.contains("exec")) return &container.first;
  std::string name = TRY(protocol::string_field(request, "exec"));
  auto found = container.execs.find(name);
  if (found == container.execs.end() || found->second->state == Process::State::setting_up) {
    return fail("process already finished", ESRCH);
  }
  return found->second.get();
}

// Completes the namespaces of `spec`. Within one machine containers can tell their networks apart only where they have
// namespaces for it; the first one's may be the machine's own.
Result<std::vector<NamespaceJoin>> ContainerTable::find_joins(const Json& request, ContainerSpec& spec) {
  std::vector<NamespaceJoin> joins;
  auto wanted = TRY(parse_joins(optional_field(request, "joins")));
  if (wanted.empty()) return joins;
  if (spec.lists_network && !wanted.contains("network")) spec.namespaces |= CLONE_NEWNET;
  for (const auto& [type, id] : wanted) {
    uint64_t flag = namespace_flag(type);
    if (flag == 0) return fail("joins has the unknown type " + type, EINVAL);
    auto found = containers_.find(id);
    if (found == containers_.end() || !found->second->first.is_alive()) {
      return fail("cannot join the " + type + " namespace of container \"" + id + "\", which is not running", ESRCH);
    }
    bool is_machines = !(found->second->spec.namespaces & flag);
    spec.namespaces = (spec.namespaces & ~flag) | (is_machines ? 0 : flag);
    if (is_machines) continue;
    spec.joined |= flag;
    joins.push_back({.flags = flag, .pidfd = found->second->first.pidfd.get()});
  }
  return joins;
}

Result<void> ContainerTable::find_shared_mounts(const Json& request, Container& container) {
  auto& mounts = container.spec.mounts;
  for (const auto& [index, key] : TRY(optional_field(request, "sharedMounts").members())) {
    size_t i = 0;
    auto [end, code] = std::from_chars(index.data(), index.data() + index.size(), i);
    if (code != std::errc() || end != index.data() + index.size() || i >= mounts.size() || mounts[i].type != "tmpfs") {
      return fail("sharedMounts has the invalid index " + index, EINVAL);
    }
    mounts[i].shared = TRY(key.string());
    container.shared_mounts[i] = TRY(shared_mounts_.find_or_make(mounts[i].shared, mounts[i]));
  }
  return {};
}

ContainerTable::Answer ContainerTable::create(ConnectionId connection, const Json& request) {
  auto container = std::make_unique<Container>();
  container->id = TRY(name_field(request, "container"));
  if (containers_.contains(container->id)) return fail("container \"" + container->id + "\" already exists", EEXIST);
  auto config = request.find("config");
  if (config == request.end()) return fail("missing field \"config\"", EINVAL);
  StdioWanted stdio = TRY(stdio_fields(request));
  container->spec = TRY(parse_container(*config));
  container->spec.process.session_keyring = "_ses." + container->id;
  TRY(terminal_fields(request, container->spec.process));
  container->spec.start_hooks = TRY(parse_start_hooks(*config, container->id, optional_field(request, "bundle")));
  container->spec.process.seccomp = TRY(parse_seccomp(optional_field(request, "seccomp")));
  std::vector<NamespaceJoin> joins = TRY(find_joins(request, container->spec));
  auto host_mounts = TRY(parse_host_mounts(optional_field(request, "hostMounts")));
  container->host_mounts = TRY(HostMounts::make(config_.sync_path, host_mounts));
  TRY(find_shared_mounts(request, *container));
  container->first.container = container->id;
  container->first.owner = container->first.requester = connection;
  container->cgroup = TRY(Cgroup::create(config_.cgroup_parent, container->id, container->spec.cgroup_files));

  container->freezer.emplace(loop_, container->cgroup->fd());
  // The host must hear of a kill before it hears of the end.
  if (auto watched = watch_for(*container, connection); !watched) {
    log_debug("out-of-memory kills of " + container->id + " are not told: " + watched.error().message());
  }
  auto spawned = [&]() -> Result<void> {
    TRY(filter_devices(container->cgroup->fd(), container->spec.device_rules));
    if (request.contains("notify") && TRY(protocol::bool_field(request, "notify"))) {
      TRY(listen_for_readiness(*container, connection));
    }
    if (owns_cgroup(container->spec)) TRY(container->cgroup->delegate(*outside_id(container->spec.user.uids, 0)));
    return spawn_first(*container, joins, stdio, spawn_context(container->id));
  }();
  if (!spawned) {
    container->cgroup->try_remove();
    return std::unexpected(spawned.error());
  }
  Process& first = container->first;
  containers_[container->id] = std::move(container);
  auto watched = watch_control(first);
  if (!watched) {
    first.setup_error = watched.error();
    ::kill(first.pid, SIGKILL);  // its end gives the reply
  }
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::exec(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find(request));
  if (!container.first.is_alive()) return fail("cannot exec in a stopped container", ESRCH);
  bool ignore_paused = request.contains("ignorePaused") && TRY(protocol::bool_field(request, "ignorePaused"));
  if (container.is_paused() && !ignore_paused) {
    return fail("cannot exec in a paused container (use --ignore-paused to override)", EBUSY);
  }
  auto process = std::make_unique<Process>();
  process->container = container.id;
  process->exec = TRY(name_field(request, "exec"));
  if (container.execs.contains(process->exec)) return fail("process \"" + process->exec + "\" already exists", EEXIST);
  auto field = request.find("process");
  StdioWanted stdio = TRY(stdio_fields(request));
  ProcessSpec spec = TRY(parse_process(Field(field == request.end() ? nullptr : &*field, "process")));
  TRY(check_user(spec, container.spec));
  spec.personality = container.spec.process.personality;
  spec.session_keyring = container.spec.process.session_keyring;
  TRY(terminal_fields(request, spec));
  spec.seccomp = container.spec.process.seccomp;
  process->owner = process->requester = connection;
  std::optional<std::string> cgroup;
  if (request.contains("cgroup")) cgroup = TRY(protocol::string_field(request, "cgroup"));
  TRY(spawn_exec(container, *process, spec, stdio, cgroup, spawn_context(container.id)));
  Process& made = *process;
  container.execs[made.exec] = std::move(process);
  auto watched = watch_control(made);
  if (!watched) {
    made.setup_error = watched.error();
    ::kill(made.pid, SIGKILL);
  }
  return std::nullopt;
}

// Replied to when the program runs, or could not be run.
ContainerTable::Answer ContainerTable::let_go(ConnectionId connection, Process& process) {
  if (!process.is_alive()) return fail("process already finished", ESRCH);
  if (process.state != Process::State::created) return fail("process is already started", EINVAL);
  if (process.fatal_signal != 0 || !send_go(process.control.get())) return fail("process already finished", ESRCH);
  process.state = Process::State::starting;
  process.requester = connection;
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::start(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find(request));
  if (!container.first.is_alive()) return fail("cannot start a container that has stopped", EINVAL);
  if (container.is_paused()) return fail("cannot start a container in the paused state", EINVAL);
  if (container.first.state != Process::State::created) {
    return fail("cannot start an already running container", EINVAL);
  }
  return let_go(connection, container.first);
}

ContainerTable::Answer ContainerTable::release(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find(request));
  TRY(protocol::string_field(request, "exec"));
  return let_go(connection, *TRY(find_process(container, request)));
}

ContainerTable::Answer ContainerTable::kill(ConnectionId, const Json& request) {
  Container& container = *TRY(find(request));
  int signal = static_cast<int>(TRY(protocol::integer_field(request, "signal", 0, SIGRTMAX)));
  bool all = TRY(protocol::bool_field(request, "all"));
  Process& process = *TRY(find_process(container, request));
  if (!container.first.is_alive()) return fail("container not running", ESRCH);
  if (!process.is_alive()) return fail("process already finished", ESRCH);
  if (all) {
    TRY(signal == SIGKILL ? container.cgroup->kill_all() : container.cgroup->signal_all(signal));
    if (signal == SIGKILL) TRY(container.freezer->thaw());
    return ok();
  }
  if (process.state == Process::State::created && ends_a_process(signal)) {
    // As the first process of its pid namespace it would not see a signal that it has no handler for. It dies of
    // SIGKILL, and is said to have died of what was asked for.
    process.fatal_signal = signal;
    signal = SIGKILL;
  }
  if (::kill(process.pid, signal) < 0) {
    if (errno == ESRCH) return fail("process already finished", ESRCH);
    return fail_errno("kill");
  }
  // As runc. Version 2 of the freezer lets SIGKILL through; what the dead one's children still do must not wait either.
  if (signal == SIGKILL && process.is_first()) TRY(container.freezer->thaw());
  return ok();
}

ContainerTable::Answer ContainerTable::resize(ConnectionId, const Json& request) {
  Process& process = *TRY(find_process(*TRY(find(request)), request));
  if (!process.terminal) return fail("process has no terminal", ENOTTY);
  winsize size{};
  size.ws_row = static_cast<uint16_t>(TRY(protocol::integer_field(request, "rows", 0, UINT16_MAX)));
  size.ws_col = static_cast<uint16_t>(TRY(protocol::integer_field(request, "columns", 0, UINT16_MAX)));
  if (::ioctl(process.terminal.get(), TIOCSWINSZ, &size) < 0) return fail_errno("set the terminal's size");
  return ok();
}

ContainerTable::Answer ContainerTable::state(ConnectionId, const Json& request) {
  Container& container = *TRY(find(request));
  Json reply = {{"type", "state"}, {"status", container.status()}, {"pid", container.first.pid}};
  if (!container.first.is_alive()) {
    reply["pid"] = 0;
    reply["exit"] = {{"status", container.first.exit.status}, {"signal", container.first.exit.signal}};
  }
  return reply;
}

ContainerTable::Answer ContainerTable::remove(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find(request));
  container.deleters.push_back(connection);
  if (container.first.is_alive()) container.cgroup->kill_all();
  (void)container.freezer->thaw();
  // Nobody wants the rest of the output.
  for (auto& stream : container.first.streams) {
    if (stream && !container.first.is_alive()) stream->abort();
  }
  check_later(container.id);
  return std::nullopt;
}

}  // namespace nacre::guest
