// SPDX-License-Identifier: Apache-2.0
// Reads a cgroup's figures. They travel as the kernel writes them; the host knows what they mean.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/event_loop.h"
#include "base/result.h"
#include "guest-init/kernel/cgroup_watch.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

// Returns the texts of the cgroup's files by their names ("cpu.stat", "memory.current", ...), as far as they exist.
protocol::Texts read_statistics(int cgroup);

// Tells whenever the kernel has killed processes because the cgroup's memory was used up.
class OomWatch {
 public:
  static Result<std::unique_ptr<OomWatch>> create(EventLoop& loop, int cgroup, std::function<void()> on_kill);
  OomWatch(const OomWatch&) = delete;
  OomWatch& operator=(const OomWatch&) = delete;

  // Looks now, before the cgroup is removed.
  void check() { events_->look(); }
  bool saw_kill() const { return seen_ > 0; }

 private:
  explicit OomWatch(std::function<void()> on_kill) : on_kill_(std::move(on_kill)) {}
  void count(std::optional<std::string_view> events);

  std::unique_ptr<CgroupWatch> events_;  // of memory.events
  std::function<void()> on_kill_;
  unsigned long long seen_ = 0;
};

}  // namespace nacre::guest
