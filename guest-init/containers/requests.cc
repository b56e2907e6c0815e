// SPDX-License-Identifier: Apache-2.0
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "base/log.h"
#include "guest-init/containers/table.h"

// The requests that make, signal and end processes.

namespace nacre::guest {

namespace {

constexpr size_t kMaxName = 255;

// Checks a name: it becomes the name of a cgroup, and stands in log lines.
Result<void> check_name(const std::string& name, const char* what) {
  bool good = !name.empty() && name.size() <= kMaxName && name != "." && name != "..";
  for (char c : name) {
    good =
        good && (std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_+-.").find(c) != std::string::npos);
  }
  if (!good) return fail(std::string("invalid ") + what + " name", EINVAL);
  return {};
}

void set_terminal(const StdioWanted& stdio, ProcessSpec& process) {
  if (!process.terminal) return;
  process.terminal->newlines = stdio.newlines;
  process.terminal->hangs_up = stdio.hangs_up;
}

// Returns whether root of the container's user namespace gets the cgroup, as runc decides it: if it sees its cgroup as
// the top, and may write there.
bool owns_cgroup(const ContainerSpec& spec) {
  constexpr uint64_t kNeeded = CLONE_NEWUSER | CLONE_NEWCGROUP;
  return (spec.namespaces & kNeeded) == kNeeded && std::ranges::any_of(spec.mounts, [](const MountSpec& mount) {
           return mount.type == "cgroup2" && !((mount.set | mount.deep_set) & MOUNT_ATTR_RDONLY);
         });
}

}  // namespace

Result<Container*> ContainerTable::find(const std::string& id) {
  auto found = containers_.find(id);
  // A container that is half made does not exist yet.
  if (found == containers_.end() || found->second->first.state == Process::State::setting_up) {
    return fail("container \"" + id + "\" does not exist", ENOENT);
  }
  return found->second.get();
}

Result<Process*> ContainerTable::find_process(Container& container, const std::optional<std::string>& exec) {
  if (!exec) return &container.first;
  auto found = container.execs.find(*exec);
  if (found == container.execs.end() || found->second->state == Process::State::setting_up) {
    return fail("process already finished", ESRCH);
  }
  return found->second.get();
}

// Finds the namespaces to join, and completes those of `spec`. Within one machine containers have networks of their own
// only with namespaces for them; the first container's may be the machine's own.
Result<std::vector<NamespaceJoin>> ContainerTable::find_joins(const protocol::Texts& wanted, ContainerSpec& spec) {
  std::vector<NamespaceJoin> joins;
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

Result<void> ContainerTable::find_shared_mounts(const protocol::Texts& keys, Container& container) {
  auto& mounts = container.spec.mounts;
  for (const auto& [index, key] : keys) {
    size_t i = 0;
    auto [end, code] = std::from_chars(index.data(), index.data() + index.size(), i);
    if (code != std::errc() || end != index.data() + index.size() || i >= mounts.size() || mounts[i].type != "tmpfs") {
      return fail("sharedMounts has the invalid index " + index, EINVAL);
    }
    mounts[i].shared = key;
    container.shared_mounts[i] = TRY(shared_mounts_.find_or_make(mounts[i].shared, mounts[i]));
  }
  return {};
}

ContainerTable::Answer ContainerTable::create(ConnectionId connection, protocol::Create request) {
  auto container = std::make_unique<Container>();
  TRY(check_name(request.container, "container"));
  container->id = request.container;
  if (containers_.contains(container->id)) return fail("container \"" + container->id + "\" already exists", EEXIST);
  container->spec = TRY(parse_container(request.config));
  container->spec.process.session_keyring = "_ses." + container->id;
  set_terminal(request.stdio, container->spec.process);
  container->spec.start_hooks = TRY(parse_start_hooks(request.config, container->id, request.bundle));
  if (request.seccomp) container->spec.process.seccomp = TRY(parse_seccomp(*request.seccomp));
  std::vector<NamespaceJoin> joins = TRY(find_joins(request.joins, container->spec));
  container->host_mounts = TRY(HostMounts::make(config_.share, request.host_mounts));
  TRY(find_shared_mounts(request.shared_mounts, *container));
  container->network = std::move(request.network);
  container->first.container = container->id;
  container->first.owner = container->first.requester = connection;
  container->cpus = add_cpus(container->id, container->spec.limits);
  container->cgroup = TRY(Cgroup::create(config_.cgroup_parent, container->id, container->spec.limits.files));

  container->freezer.emplace(loop_, container->cgroup->fd());
  // The host must hear of a kill before it hears of the end.
  if (auto watched = watch_for(*container, connection); !watched) {
    log_debug("out-of-memory kills of " + container->id + " are not told: " + watched.error().message());
  }
  auto spawned = [&]() -> Result<void> {
    TRY(filter_devices(container->cgroup->fd(), container->spec.device_rules));
    if (request.notify) TRY(listen_for_readiness(*container, connection));
    if (owns_cgroup(container->spec)) TRY(container->cgroup->delegate(*outside_id(container->spec.user.uids, 0)));
    return spawn_first(*container, joins, request.stdio, spawn_context(container->id));
  }();
  if (!spawned) {
    container->cgroup->try_remove();
    return std::unexpected(spawned.error());
  }
  Process& first = container->first;
  containers_[container->id] = std::move(container);
  watch_messages(first);
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::exec(ConnectionId connection, protocol::Exec request) {
  Container& container = *TRY(find(request.container));
  if (!container.first.is_alive()) return fail("cannot exec in a stopped container", ESRCH);
  if (container.is_paused() && !request.ignore_paused) {
    return fail("cannot exec in a paused container (use --ignore-paused to override)", EBUSY);
  }
  auto process = std::make_unique<Process>();
  process->container = container.id;
  TRY(check_name(request.exec, "exec"));
  process->exec = request.exec;
  if (container.execs.contains(process->exec)) return fail("process \"" + process->exec + "\" already exists", EEXIST);
  ProcessSpec spec = TRY(parse_process(JsonField(&request.process, "process")));
  TRY(check_user(spec, container.spec));
  spec.personality = container.spec.process.personality;
  spec.session_keyring = container.spec.process.session_keyring;
  set_terminal(request.stdio, spec);
  spec.seccomp = container.spec.process.seccomp;
  process->owner = process->requester = connection;
  TRY(spawn_exec(container, *process, spec, request.stdio, request.cgroup, spawn_context(container.id)));
  Process& made = *process;
  container.execs[made.exec] = std::move(process);
  watch_messages(made);
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::start(ConnectionId connection, protocol::Start request) {
  Container& container = *TRY(find(request.container));
  if (!container.first.is_alive()) return fail("cannot start a container that has stopped", EINVAL);
  if (container.is_paused()) return fail("cannot start a container in the paused state", EINVAL);
  if (container.first.state != Process::State::created) {
    return fail("cannot start an already running container", EINVAL);
  }
  TRY(container.first.let_go(connection));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::release(ConnectionId connection, protocol::Release request) {
  Container& container = *TRY(find(request.container));
  TRY(TRY(find_process(container, request.exec))->let_go(connection));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::kill(ConnectionId, protocol::Kill request) {
  Container& container = *TRY(find(request.container));
  const int signal = request.signal;
  Process& process = *TRY(find_process(container, request.exec));
  if (!container.first.is_alive()) return fail("container not running", ESRCH);
  if (!process.is_alive()) return fail("process already finished", ESRCH);
  int sent = signal;
  if (request.all) {
    TRY(signal == SIGKILL ? container.cgroup->kill_all() : container.cgroup->signal_all(signal));
  } else {
    sent = TRY(process.kill(signal));
  }
  // As under runc. Version 2 of the freezer lets SIGKILL through; but what the children of a dead process still do must
  // not wait either.
  if (sent == SIGKILL && (request.all || process.is_first())) TRY(container.freezer->thaw());
  return ok();
}

ContainerTable::Answer ContainerTable::resize(ConnectionId, protocol::Resize request) {
  Process& process = *TRY(find_process(*TRY(find(request.container)), request.exec));
  if (!process.terminal) return fail("process has no terminal", ENOTTY);
  winsize size{};
  size.ws_row = request.rows;
  size.ws_col = request.columns;
  if (::ioctl(process.terminal.get(), TIOCSWINSZ, &size) < 0) return fail_errno("set the terminal's size");
  return ok();
}

ContainerTable::Answer ContainerTable::state(ConnectionId, protocol::State request) {
  Container& container = *TRY(find(request.container));
  protocol::StateReply reply{.status = std::string(container.status()), .pid = container.first.pid};
  if (!container.first.is_alive()) {
    reply.pid = 0;
    reply.exit = container.first.exit;
  }
  return protocol::encode(reply);
}

ContainerTable::Answer ContainerTable::remove(ConnectionId connection, protocol::Delete request) {
  Container& container = *TRY(find(request.container));
  container.deleters.push_back(connection);
  bool is_alive = container.first.is_alive();
  if (is_alive) (void)container.cgroup->kill_all();
  (void)container.freezer->thaw();
  if (!is_alive) container.first.abort_streams();
  check_later(container.id);
  return std::nullopt;
}

}  // namespace nacre::guest
