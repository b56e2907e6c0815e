// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/table.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <utility>

#include "base/log.h"

namespace nacre::guest {

ContainerTable::ContainerTable(EventLoop& loop, Transport& transport, TableConfig config, Outlet outlet)
    : loop_(loop), transport_(transport), config_(std::move(config)), outlet_(std::move(outlet)) {}

ContainerTable::~ContainerTable() {
  for (auto& [id, container] : containers_) {
    container->first.stop_watching(loop_);
    for (auto& [name, process] : container->execs) process->stop_watching(loop_);
  }
}

SpawnContext ContainerTable::spawn_context(const std::string& container) {
  return SpawnContext{loop_, transport_, config_.cgroup_mount, [this, container] { check_later(container); }};
}

Process* ContainerTable::process_named(const std::string& container, const std::string& exec) {
  auto found = containers_.find(container);
  if (found == containers_.end()) return nullptr;
  if (exec.empty()) return &found->second->first;
  auto process = found->second->execs.find(exec);
  return process == found->second->execs.end() ? nullptr : process->second.get();
}

// A process that cannot be watched is killed; its end gives the reply.
void ContainerTable::watch_messages(Process& process) {
  // By name: the process may be gone when the handler is called.
  auto watched = process.watch(loop_, [this, container = process.container, exec = process.exec] {
    if (Process* found = process_named(container, exec)) take_messages(*found);
  });
  if (watched) return;
  process.setup_error = watched.error();
  ::kill(process.pid, SIGKILL);
}

void ContainerTable::take_messages(Process& process) {
  process.take_messages(spawn_context(process.container), outlet_.reply);
}

void ContainerTable::on_exit(pid_t pid, ExitStatus exit) {
  for (auto& [id, container] : containers_) {
    if (container->take_sync(pid)) return check_later(id);
  }
  for (auto& [id, container] : containers_) {
    if (Process* process = container->find_living(pid)) return process_exited(*container, *process, exit);
  }
}

void ContainerTable::process_exited(Container& container, Process& process, ExitStatus exit) {
  take_messages(process);  // what it said before it died
  process.stop_watching(loop_);
  bool is_short = process.is_first() && process.state == Process::State::setting_up && !process.setup_error &&
                  container.was_short_of_memory();
  process.exited(exit, is_short);
  if (process.is_first()) container.kill_rest();
  check_later(container.id);
}

void ContainerTable::on_reaped() {
  for (auto& [id, container] : containers_) {
    if (!container->first.is_alive()) check_later(id);
  }
}

// A look at a container may destroy it, or streams of it, so it must not come from within their own calls.
void ContainerTable::check_later(const std::string& container) {
  loop_.post(alive_.guard([this, container] { check(container); }));
}

void ContainerTable::check(const std::string& id) {
  std::erase_if(left_streams_, [](const auto& stream) { return stream->is_finished(); });
  auto found = containers_.find(id);
  if (found == containers_.end()) return;
  Container& container = *found->second;
  container.first.check_terminal();
  for (auto& [name, process] : container.execs) process->check_terminal();
  check_execs(container);
  if (!container.end(loop_, config_.share, [this, id] { check_later(id); })) return;
  Process& first = container.first;
  // Whoever is told that a container is gone finds nothing of it any more: the replies come last.
  if (first.setup_error) {
    ConnectionId requester = first.requester;
    Json error = protocol::encode(protocol::ErrorReply::from(*first.setup_error));
    containers_.erase(found);
    outlet_.reply(requester, error);
    return;
  }
  if (!container.reported) {
    container.reported = true;
    report_exit(first);
  }
  if (container.deleters.empty()) return;
  // Their output, which nobody took, goes with the container.
  for (auto& [name, process] : container.execs) report_exit(*process);
  std::vector<ConnectionId> deleters = std::move(container.deleters);
  containers_.erase(found);
  for (ConnectionId deleter : deleters) outlet_.reply(deleter, protocol::encode(protocol::Ok{}));
}

void ContainerTable::check_execs(Container& container) {
  for (auto it = container.execs.begin(); it != container.execs.end();) {
    Process& process = *it->second;
    if (process.is_alive() || !(process.is_drained() || process.setup_error)) {
      ++it;
      continue;
    }
    if (process.setup_error) {
      outlet_.reply(process.requester, protocol::encode(protocol::ErrorReply::from(*process.setup_error)));
    } else {
      report_exit(process);
      std::ranges::move(process.take_unfinished_outputs(), std::back_inserter(left_streams_));
    }
    it = container.execs.erase(it);
  }
}

void ContainerTable::report_exit(Process& process) {
  if (process.requester != kNoConnection) {
    const protocol::ErrorReply finished{.message = "process already finished", .code = ESRCH};
    outlet_.reply(std::exchange(process.requester, kNoConnection), protocol::encode(finished));
  }
  outlet_.event(process.owner, protocol::encode(process.exit_event()));
}

void ContainerTable::on_connection_closed(ConnectionId connection) {
  for (auto& [id, container] : containers_) {
    container->watchers.erase(connection);
    if (container->first.owner == connection) {
      container->first.owner = kNoConnection;
      if (container->first.is_alive()) ::kill(container->first.pid, SIGKILL);
    }
    for (auto& [name, process] : container->execs) {
      if (process->owner == connection && process->is_alive()) ::kill(process->pid, SIGKILL);
    }
  }
}

bool ContainerTable::is_in_use() const {
  return std::ranges::any_of(containers_, [](const auto& entry) { return entry.second->first.owner != kNoConnection; });
}

}  // namespace nacre::guest
