#include <csignal>

#include "guest-init/containers/proc_files.h"
#include "guest-init/containers/process_list.h"
#include "guest-init/containers/statistics.h"
#include "guest-init/containers/table.h"
#include "guest-init/kernel/cpus.h"

// The requests about a container as a whole while it runs. Those that make, signal and end processes are in
// requests.cc.

namespace nacre::guest {

namespace {

Json ok() {
  return Json{{"type", "ok"}};
}

Json to_reply(const Result<void>& outcome) {
  return outcome ? ok() : protocol::error_message(outcome.error().message(), outcome.error().code());
}

constexpr int64_t kMaxCpus = 64;

// runc's answer to linux.resources.memory.checkBeforeUpdate.
Result<void> check_usage(const Field& memory, int cgroup) {
  if (!TRY(TRY(memory.member("checkBeforeUpdate")).boolean(false))) return {};
  Json figures = read_statistics(cgroup);
  auto current = figures.find("memory.current");
  if (current == figures.end()) return {};
  int64_t usage = std::strtoll(current->get_ref<const std::string&>().c_str(), nullptr, 10);
  for (auto [name, what] : {std::pair("swap", "memory+swap limit"), std::pair("limit", "memory limit")}) {
    int64_t limit = TRY(TRY(memory.member(name)).integer(INT64_MIN, INT64_MAX, 0));
    if (limit <= 0 || limit > usage) continue;
    return fail(std::string("rejecting ") + what + " " + std::to_string(limit) + " <= usage " + std::to_string(usage),
                EBUSY);
  }
  return {};
}

}  // namespace

Result<Container*> ContainerTable::find_running(const Json& request) {
  Container* container = TRY(find(request));
  if (!container->first.is_alive()) return fail("container not running", ESRCH);
  return container;
}

ContainerTable::Answer ContainerTable::pause(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find_running(request));
  container.freezer->freeze(
      [this, connection](const Result<void>& outcome) { outlet_.reply(connection, to_reply(outcome)); });
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::resume(ConnectionId, const Json& request) {
  Container& container = *TRY(find_running(request));
  if (!container.freezer->is_frozen()) return fail("container not paused", EINVAL);
  TRY(container.freezer->thaw());
  return ok();
}

ContainerTable::Answer ContainerTable::processes(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find(request));
  TRY(helpers_.start([&container] { return list_processes(container.cgroup->processes()); },
                     [this, connection](const Json& reply) { outlet_.reply(connection, reply); }));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::procfs(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find_running(request));
  TRY(helpers_.start([pid = container.first.pid] { return read_proc_files(pid); },
                     [this, connection](const Json& reply) { outlet_.reply(connection, reply); }));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::statistics(ConnectionId, const Json& request) {
  Container& container = *TRY(find_running(request));
  return Json{{"type", "statistics"}, {"files", read_statistics(container.cgroup->fd())}};
}

Result<void> ContainerTable::listen_for_readiness(Container& container, ConnectionId connection) {
  auto tell = [this, connection, id = container.id] {
    outlet_.event(connection, {{"type", "ready"}, {"container", id}});
  };
  container.notify = TRY(NotifySocket::create(loop_, config_.notify_directory + "/" + container.id, tell));
  return {};
}

Result<void> ContainerTable::watch_for(Container& container, ConnectionId connection) {
  if (!container.ooms) {
    container.ooms = TRY(OomWatch::create(loop_, container.cgroup->fd(), [this, &container] {
      // A copy: a watcher that is found to be gone leaves the set.
      for (auto watchers = container.watchers; ConnectionId watcher : watchers) {
        outlet_.event(watcher, {{"type", "oom"}, {"container", container.id}});
      }
    }));
  }
  container.watchers.insert(connection);
  return {};
}

ContainerTable::Answer ContainerTable::watch(ConnectionId connection, const Json& request) {
  TRY(watch_for(*TRY(find_running(request)), connection));
  return ok();
}

// In a helper process. CPUs come before the limits that give them to the container, and go after them.
Result<void> ContainerTable::set_limits(const Container& container, const std::vector<protocol::CgroupFile>& files,
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

ContainerTable::Answer ContainerTable::update(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find_running(request));
  auto found = request.find("resources");
  Field resources(found == request.end() ? nullptr : &*found, "resources");
  auto files = TRY(parse_resources(resources));
  TRY(check_usage(TRY(resources.member("memory")), container.cgroup->fd()));
  unsigned cpus = 0;  // as they are
  if (request.contains("cpus")) {
    cpus = static_cast<unsigned>(TRY(protocol::integer_field(request, "cpus", 1, kMaxCpus)));
  }
  if (files.empty() && cpus == 0) return ok();
  // A memory limit below what is in use takes until that much was freed.
  TRY(helpers_.start([this, &container, &files, cpus] { return to_reply(set_limits(container, files, cpus)); },
                     [this, connection](const Json& reply) { outlet_.reply(connection, reply); }));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::mount(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find_running(request));
  HostMount mount = TRY(parse_host_mount(Field(&request, "mount")));
  container.host_mounts.add(mount.path);  // also if it fails half-way
  auto detach = [share = config_.sync_path, path = mount.path] { return to_reply(detach_host_mount(share, path)); };
  auto attached = [this, connection, detach, id = container.id](const Json& reply) {
    if (!containers_.contains(id)) (void)helpers_.start(detach, [](const Json&) {});
    outlet_.reply(connection, reply);
  };
  TRY(helpers_.start([this, &mount] { return to_reply(attach_host_mount(config_.sync_path, mount)); }, attached));
  return std::nullopt;
}

ContainerTable::Answer ContainerTable::unmount(ConnectionId connection, const Json& request) {
  Container& container = *TRY(find_running(request));
  std::string path = TRY(protocol::string_field(request, "path"));
  auto detached = [this, connection, path, id = container.id](const Json& reply) {
    auto found = containers_.find(id);
    if (reply["type"] == "ok" && found != containers_.end()) found->second->host_mounts.remove(path);
    outlet_.reply(connection, reply);
  };
  TRY(helpers_.start([this, &path] { return to_reply(detach_host_mount(config_.sync_path, path)); }, detached));
  return std::nullopt;
}

}  // namespace nacre::guest
