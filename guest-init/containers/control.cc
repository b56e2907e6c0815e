// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include "guest-init/containers/proc_files.h"
#include "guest-init/containers/process_list.h"
#include "guest-init/containers/statistics.h"
#include "guest-init/containers/table.h"
#include "guest-init/kernel/cpus.h"
#include "oci/cpu_list.h"

// The requests about a container as a whole while it runs. Those that make, signal and end processes are in
// requests.cc.

namespace nacre::guest {

Json ok() {
  return protocol::encode(protocol::Ok{});
}

namespace {

// Carries out linux.resources.memory.checkBeforeUpdate, with runc's answer.
Result<void> check_usage(const JsonField& memory, int cgroup) {
  if (!TRY(TRY(memory.member("checkBeforeUpdate")).boolean(false))) return {};
  protocol::Texts figures = read_statistics(cgroup);
  auto current = figures.find("memory.current");
  if (current == figures.end()) return {};
  int64_t usage = std::strtoll(current->second.c_str(), nullptr, 10);
  for (auto [name, what] : {std::pair("swap", "memory+swap limit"), std::pair("limit", "memory limit")}) {
    int64_t limit = TRY(TRY(memory.member(name)).integer(INT64_MIN, INT64_MAX, 0));
    if (limit <= 0 || limit > usage) continue;
    return fail(std::string("rejecting ") + what + " " + std::to_string(limit) + " <= usage " + std::to_string(usage),
                EBUSY);
  }
  return {};
}

}  // namespace

Result<Container*> ContainerTable::find_running(const std::string& id) {
  Container* container = TRY(find(id));
  if (!container->first.is_alive()) return fail("container not running", ESRCH);
  return container;
}

ContainerTable::Answer ContainerTable::pause(ConnectionId connection, protocol::Pause request) {
  Container& container = *TRY(find_running(request.container));
  container.freezer->freeze([this, connection](const Result<void>& outcome) {
    outlet_.reply(connection, protocol::encode_outcome(outcome));
  });
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::resume(ConnectionId, protocol::Resume request) {
  Container& container = *TRY(find_running(request.container));
  if (!container.freezer->is_frozen()) return fail("container not paused", EINVAL);
  TRY(container.freezer->thaw());
  return ok();
}

ContainerTable::Answer ContainerTable::processes(ConnectionId connection, protocol::Processes request) {
  Container& container = *TRY(find(request.container));
  TRY(helpers_.run_in_fork(
      [&] { return Result<protocol::ProcessesReply>(list_processes(container.cgroup->processes())); },
      [this, connection](const Json& reply) { outlet_.reply(connection, reply); }));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::procfs(ConnectionId connection, protocol::Procfs request) {
  Container& container = *TRY(find_running(request.container));
  TRY(helpers_.run_in_fork([pid = container.first.pid] { return read_proc_files(pid); },
                           [this, connection](const Json& reply) { outlet_.reply(connection, reply); }));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::statistics(ConnectionId, protocol::Statistics request) {
  Container& container = *TRY(find_running(request.container));
  return protocol::encode(protocol::StatisticsReply{.files = read_statistics(container.cgroup->fd())});
}

Result<void> ContainerTable::listen_for_readiness(Container& container, ConnectionId connection) {
  auto tell = [this, connection, id = container.id] {
    outlet_.event(connection, protocol::encode(protocol::Ready{.container = id}));
  };
  container.notify = TRY(NotifySocket::create(loop_, config_.notify_directory + "/" + container.id, tell));
  return {};
}

Result<void> ContainerTable::watch_for(Container& container, ConnectionId connection) {
  if (!container.ooms) {
    container.ooms = TRY(OomWatch::create(loop_, container.cgroup->fd(), [this, &container] {
      // Goes over a copy: a watcher that is found to be gone leaves the set.
      for (auto watchers = container.watchers; ConnectionId watcher : watchers) {
        outlet_.event(watcher, protocol::encode(protocol::Oom{.container = container.id}));
      }
    }));
  }
  container.watchers.insert(connection);
  return {};
}

ContainerTable::Answer ContainerTable::watch(ConnectionId connection, protocol::Watch request) {
  TRY(watch_for(*TRY(find_running(request.container)), connection));
  return ok();
}

std::vector<unsigned> ContainerTable::add_cpus(const std::string& container, Limits& limits) const {
  if (limits.cpus == 0) return {};
  std::vector<std::vector<unsigned>> others;
  for (const auto& [id, other] : containers_) {
    if (id != container) others.push_back(other->cpus);
  }
  std::vector<unsigned> cpus = choose_cpus(limits.cpus, count_cpus(config_.cpu_path), others);
  limits.files.push_back({.name = "cpuset.cpus", .value = oci::cpu_list(cpus), .optional = true});
  return cpus;
}

// Runs in a helper process. CPUs come before the limits that give them to the container, and go after them.
Result<void> ContainerTable::set_limits(const Container& container, const std::vector<oci::CgroupFile>& files,
                                        unsigned cpus) {
  unsigned before = cpus == 0 ? 0 : count_online_cpus(config_.cpu_path);
  if (cpus > before) TRY(set_online_cpus(config_.cpu_path, cpus));
  auto updated = container.cgroup->update(files);
  if (!updated) {
    if (cpus > before) (void)set_online_cpus(config_.cpu_path, before);
    return updated;
  }
  if (cpus < before) TRY(set_online_cpus(config_.cpu_path, cpus));
  return {};
}

ContainerTable::Answer ContainerTable::update(ConnectionId connection, protocol::Update request) {
  Container& container = *TRY(find_running(request.container));
  JsonField resources(&request.resources, "resources");
  Limits limits = TRY(parse_resources(resources));
  TRY(check_usage(TRY(resources.member("memory")), container.cgroup->fd()));
  auto cpus = static_cast<unsigned>(request.cpus.value_or(0));  // 0: as they are
  std::vector<unsigned> chosen = add_cpus(container.id, limits);
  if (limits.files.empty() && cpus == 0) return ok();
  auto updated = [this, connection, id = container.id, chosen](const Json& reply) {
    auto found = containers_.find(id);
    bool has_them = protocol::type_of(reply) == protocol::Ok::kType && !chosen.empty();
    if (has_them && found != containers_.end()) found->second->cpus = chosen;
    outlet_.reply(connection, reply);
  };
  // The kernel first frees memory to get below a new limit, which may take long.
  TRY(helpers_.run_in_fork([&] { return set_limits(container, limits.files, cpus); }, updated));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::mount(ConnectionId connection, protocol::Mount request) {
  Container& container = *TRY(find_running(request.container));
  HostMount mount = parse_host_mount(request.mount);
  container.host_mounts.add(mount.path);  // also if it fails half-way
  auto attached = [this, connection, path = mount.path, id = container.id](const Json& reply) {
    auto detach = [&] { return detach_host_mount(config_.share, path); };
    if (!containers_.contains(id)) (void)helpers_.run_in_fork(detach, [](const Json&) {});
    outlet_.reply(connection, reply);
  };
  TRY(helpers_.run_in_fork([&] { return attach_host_mount(config_.share, mount); }, attached));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::unmount(ConnectionId connection, protocol::Unmount request) {
  Container& container = *TRY(find_running(request.container));
  auto detached = [this, connection, path = request.path, id = container.id](const Json& reply) {
    auto found = containers_.find(id);
    if (protocol::type_of(reply) == protocol::Ok::kType && found != containers_.end())
      found->second->host_mounts.remove(path);
    outlet_.reply(connection, reply);
  };
  TRY(helpers_.run_in_fork([&] { return detach_host_mount(config_.share, request.path); }, detached));
  return std::nullopt;
}

}  // namespace nacre::guest
