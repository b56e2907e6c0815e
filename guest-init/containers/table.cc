#include "guest-init/containers/table.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/log.h"
#include "guest-init/child/channel.h"

namespace nacre::guest {

ContainerTable::ContainerTable(EventLoop& loop, Transport& transport, TableConfig config, Outlet outlet)
    : loop_(loop), transport_(transport), config_(std::move(config)), outlet_(std::move(outlet)) {}

ContainerTable::~ContainerTable() {
  *alive_ = false;
  for (auto& [id, container] : containers_) {
    stop_watching(container->first);
    for (auto& [name, process] : container->execs) stop_watching(*process);
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

Process* ContainerTable::process_with_pid(pid_t pid) {
  for (auto& [id, container] : containers_) {
    if (container->first.pid == pid && container->first.is_alive()) return &container->first;
    for (auto& [name, process] : container->execs) {
      if (process->pid == pid && process->is_alive()) return process.get();
    }
  }
  return nullptr;
}

// --- From clone to running ---

Result<void> ContainerTable::watch_control(Process& process) {
  // By name: the process may be gone when the handler is called.
  return loop_.add(
      process.control.get(), EPOLLIN,
      [this, container = process.container, exec = process.exec](uint32_t) { read_control(container, exec); });
}

void ContainerTable::stop_watching(Process& process) {
  if (process.control) loop_.remove(process.control.get());
  process.control.reset();
}

void ContainerTable::read_control(const std::string& container, const std::string& exec) {
  Process* process = process_named(container, exec);
  if (process != nullptr) take_messages(*process);
}

void ContainerTable::take_messages(Process& process) {
  while (process.control) {
    auto message = receive_child_message(process.control.get());
    if (!message) return;
    if (message->terminal && process.state == Process::State::setting_up) {
      auto added = add_terminal(process, std::move(message->terminal), spawn_context(process.container));
      if (!added) {
        process.setup_error = added.error();
        ::kill(process.pid, SIGKILL);  // its end gives the reply
        return;
      }
    } else if (message->ready && process.state == Process::State::setting_up) {
      process.state = Process::State::created;
      Json streams = Json::object();
      for (auto& stream : process.streams) {
        if (stream) stream->expect_connection();
      }
      constexpr const char* kNames[] = {"stdin", "stdout", "stderr"};
      for (size_t i = 0; i < 3; i++) {
        if (process.streams[i]) streams[kNames[i]] = process.streams[i]->port();
      }
      for (size_t i = 3; i < process.streams.size(); i += 2) {
        auto port = [&](size_t j) { return process.streams[j] ? process.streams[j]->port() : 0; };
        streams["passed"].push_back({{"in", port(i)}, {"out", port(i + 1)}});
      }
      outlet_.reply(std::exchange(process.requester, kNoConnection),
                    {{"type", "created"}, {"pid", process.pid}, {"streams", std::move(streams)}});
    } else if (message->error) {
      if (process.state == Process::State::starting) {
        process.state = Process::State::running;  // for the short time until it has exited
        outlet_.reply(std::exchange(process.requester, kNoConnection),
                      protocol::error_message(message->error->message(), message->error->code()));
      } else {
        process.setup_error = std::move(message->error);  // replied to when the child is gone
      }
    } else if (message->end) {
      stop_watching(process);
      if (process.state == Process::State::starting) {
        process.state = Process::State::running;
        outlet_.reply(std::exchange(process.requester, kNoConnection), {{"type", "ok"}});
      }
    }
  }
}

// --- The end ---

void ContainerTable::on_exit(pid_t pid, ExitStatus exit) {
  for (auto& [id, container] : containers_) {
    if (container->syncer == pid) {
      container->syncer = -1;
      container->synced = true;
      check_later(id);
      return;
    }
  }
  if (Process* process = process_with_pid(pid)) process_exited(*process, exit);
}

void ContainerTable::process_exited(Process& process, ExitStatus exit) {
  take_messages(process);  // what it said before it died
  stop_watching(process);
  bool was_setting_up = process.state == Process::State::setting_up;
  process.state = Process::State::exited;
  process.exit = exit;
  if (process.fatal_signal != 0 && exit.signal == SIGKILL) process.exit.signal = process.fatal_signal;
  if (was_setting_up && !process.setup_error && process.is_first() && was_short_of_memory(process.container)) {
    process.setup_error.emplace("container init was OOM-killed (memory limit too low?)", ECHILD);
  }
  if (was_setting_up && !process.setup_error) {
    process.setup_error.emplace(exit.signal != 0 ? "process was killed by signal " + std::to_string(exit.signal) +
                                                       " while it was set up (out of memory?)"
                                                 : "process died while it was set up",
                                ECHILD);
  }
  for (auto& stream : process.streams) {
    if (stream) stream->process_exited();
  }
  if (process.is_first()) {
    Container& container = *containers_[process.container];
    container.cgroup->kill_all();
    (void)container.freezer->thaw();  // tells whoever waits for it
  }
  check_later(process.container);
}

bool ContainerTable::was_short_of_memory(const std::string& container) {
  const auto& ooms = containers_[container]->ooms;
  if (ooms) ooms->check();
  return ooms && ooms->saw_kill();
}

void ContainerTable::on_reaped() {
  for (auto& [id, container] : containers_) {
    if (!container->first.is_alive()) check_later(id);
  }
}

// Looking at a container may destroy it, or streams of it; so never from within their own calls.
void ContainerTable::check_later(const std::string& container) {
  loop_.post([this, alive = alive_, container] {
    if (*alive) check(container);
  });
}

void ContainerTable::check(const std::string& id) {
  std::erase_if(left_streams_, [](const auto& stream) { return stream->is_finished(); });
  auto found = containers_.find(id);
  if (found == containers_.end()) return;
  Container& container = *found->second;
  check_terminal(container.first);
  for (auto& [name, process] : container.execs) check_terminal(*process);
  check_execs(container);
  if (!is_over(container)) return;
  Process& first = container.first;
  // Whoever is told that a container is gone finds nothing of it any more: the replies come last.
  if (first.setup_error) {
    ConnectionId requester = first.requester;
    Json error = protocol::error_message(first.setup_error->message(), first.setup_error->code());
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
  for (ConnectionId deleter : deleters) outlet_.reply(deleter, {{"type", "ok"}});
}

// Once the host's end of a terminal is gone, so is ours: the kernel sends the SIGHUP.
void ContainerTable::check_terminal(Process& process) {
  if (!process.terminal || !process.is_alive()) return;
  const auto& input = process.streams[0];
  const auto& output = process.streams[1];
  if (!(process.hangs_up && input->is_finished()) && !output->is_finished()) return;
  input->abort();
  output->abort();
  process.terminal.reset();
}

void ContainerTable::check_execs(Container& container) {
  for (auto it = container.execs.begin(); it != container.execs.end();) {
    Process& process = *it->second;
    if (process.is_alive() || !(process.is_drained() || process.setup_error)) {
      ++it;
      continue;
    }
    if (process.setup_error) {
      outlet_.reply(process.requester,
                    protocol::error_message(process.setup_error->message(), process.setup_error->code()));
    } else {
      report_exit(process);
      keep_streams(process);
    }
    it = container.execs.erase(it);
  }
}

// Whether nothing of the container is left but its entry here; takes the next steps towards it.
bool ContainerTable::is_over(Container& container) {
  if (container.first.is_alive()) return false;
  for (const auto& [name, process] : container.execs) {
    if (process->is_alive()) return false;
  }
  if (container.ooms) container.ooms->check();  // what killed it may be told together with its end
  if (!container.cgroup->try_remove()) {
    watch_leaving(container);
    return false;
  }
  container.leaving.reset();
  container.ooms.reset();
  if (container.first.setup_error) return true;
  if (!container.synced) {
    if (container.syncer < 0) start_sync(container);
    if (!container.synced) return false;
  }
  return container.reported || !container.deleters.empty() || container.first.is_drained();
}

// Some process takes its time to die. It need not be a child of ours, in another container's pid namespace, nor does a
// process that was reaped have to have left its cgroup (since Linux 6.19).
void ContainerTable::watch_leaving(Container& container) {
  if (container.leaving) return;
  auto watch = CgroupWatch::create(loop_, container.cgroup->fd(), "cgroup.events",
                                   [this, id = container.id](auto) { check_later(id); });
  if (watch) {
    container.leaving = std::move(*watch);
  } else {
    log_warn("the end of " + container.id + " may not be seen: " + watch.error().message());
  }
}

// In a process of its own: the host may take long to write, and the loop must not wait for it.
void ContainerTable::start_sync(Container& container) {
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close_range(3, ~0u, 0);  // ends of pipes that others wait for
    int fd = ::open(config_.sync_path.c_str(), O_RDONLY | O_CLOEXEC);
    ::_exit(fd >= 0 && ::syncfs(fd) == 0 ? 0 : 1);
  }
  if (pid < 0) log_warn("no process to flush the file systems of " + container.id);
  container.syncer = pid;
  container.synced = pid < 0;
}

void ContainerTable::report_exit(Process& process) {
  if (process.requester != kNoConnection) {
    outlet_.reply(std::exchange(process.requester, kNoConnection),
                  protocol::error_message("process already finished", ESRCH));
  }
  auto sent = [&](size_t i) { return process.streams[i] ? process.streams[i]->sent() : 0; };
  Json event = {{"type", "exited"},
                {"container", process.container},
                {"status", process.exit.status},
                {"signal", process.exit.signal},
                {"sent", {{"stdout", sent(1)}, {"stderr", sent(2)}}}};
  for (size_t i = 3; i < process.streams.size(); i += 2) event["sent"]["passed"].push_back(sent(i + 1));
  if (!process.is_first()) event["exec"] = process.exec;
  outlet_.event(process.owner, event);
}

void ContainerTable::keep_streams(Process& process) {
  for (size_t i = 0; i < process.streams.size(); i++) {
    auto& stream = process.streams[i];
    bool output = i < 3 ? i > 0 : i % 2 == 0;
    if (output && stream && !stream->is_finished()) left_streams_.push_back(std::move(stream));
  }
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
