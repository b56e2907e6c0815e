// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/container.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace nacre::guest {

std::string_view Container::status() const {
  if (is_paused()) return "paused";
  switch (first.state) {
    case Process::State::setting_up:
    case Process::State::created:
      return "created";
    case Process::State::exited:
      return "stopped";
    default:
      return "running";
  }
}

Process* Container::find_living(pid_t pid) {
  if (first.pid == pid && first.is_alive()) return &first;
  for (auto& [name, process] : execs) {
    if (process->pid == pid && process->is_alive()) return process.get();
  }
  return nullptr;
}

bool Container::was_short_of_memory() {
  if (ooms) ooms->check();
  return ooms && ooms->saw_kill();
}

void Container::kill_rest() {
  (void)cgroup->kill_all();
  (void)freezer->thaw();  // whoever waits for it is told
}

bool Container::end(EventLoop& loop, const std::string& share, const std::function<void()>& look_again) {
  if (first.is_alive()) return false;
  if (std::ranges::any_of(execs, [](const auto& entry) { return entry.second->is_alive(); })) return false;
  if (ooms) ooms->check();  // what killed it may be told together with its end
  if (!cgroup->try_remove()) {
    watch_leaving(loop, look_again);
    return false;
  }
  leaving_.reset();
  ooms.reset();
  if (first.setup_error) return true;
  if (!synced_ && syncer_ < 0) start_sync(share);
  if (!synced_) return false;
  return reported || !deleters.empty() || first.is_drained();
}

// Some process takes its time to die. It need not be a child of guest-init, if it is in another container's pid
// namespace, and a process that was reaped need not have left its cgroup (since Linux 6.19).
void Container::watch_leaving(EventLoop& loop, const std::function<void()>& look_again) {
  if (leaving_) return;
  auto watch = CgroupWatch::create(loop, cgroup->fd(), "cgroup.events", [look_again](auto) { look_again(); });
  if (watch) {
    leaving_ = std::move(*watch);
  } else {
    log_warn("the end of " + id + " may not be seen: " + watch.error().message());
  }
}

// Syncs in a process of its own: the host may take long to write, and the loop must not wait for it.
void Container::start_sync(const std::string& share) {
  pid_t pid = ::fork();
  if (pid == 0) {
    ::close_range(3, ~0u, 0);  // ends of pipes that others wait for
    int fd = ::open(share.c_str(), O_RDONLY | O_CLOEXEC);
    ::_exit(fd >= 0 && ::syncfs(fd) == 0 ? 0 : 1);
  }
  if (pid < 0) log_warn("no process to flush the file systems of " + id);
  syncer_ = pid;
  synced_ = pid < 0;
}

bool Container::take_sync(pid_t pid) {
  if (syncer_ != pid) return false;
  syncer_ = -1;
  synced_ = true;
  return true;
}

}  // namespace nacre::guest
