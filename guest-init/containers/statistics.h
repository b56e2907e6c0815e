// A cgroup's figures. The host knows what they mean; they travel as the kernel writes them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/event_loop.h"
#include "base/result.h"
#include "guest-init/kernel/cgroup_watch.h"

namespace nacre::guest {

// {"cpu.stat": TEXT, "memory.current": TEXT, ...}: those of the files that there are.
nlohmann::json read_statistics(int cgroup);

// Tells of each growth of the number of processes that the kernel killed since the cgroup's memory was used up.
class OomWatch {
 public:
  static Result<std::unique_ptr<OomWatch>> create(EventLoop& loop, int cgroup, std::function<void()> on_kill);
  OomWatch(const OomWatch&) = delete;
  OomWatch& operator=(const OomWatch&) = delete;

  // Looks now, before the cgroup goes.
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
