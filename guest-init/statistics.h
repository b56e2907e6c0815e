// A cgroup's figures. The host knows what they mean; they travel as the kernel writes them.
#pragma once

#include <functional>
#include <memory>

#include <nlohmann/json.hpp>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace nacre::guest {

// {"cpu.stat": TEXT, "memory.current": TEXT, ...}: those of the files that there are.
nlohmann::json read_statistics(int cgroup);

// Tells of each growth of the number of processes that the kernel killed since the cgroup's memory was used up.
class OomWatch {
 public:
  static Result<std::unique_ptr<OomWatch>> create(EventLoop& loop, int cgroup, std::function<void()> on_kill);
  ~OomWatch();
  OomWatch(const OomWatch&) = delete;
  OomWatch& operator=(const OomWatch&) = delete;

  // Looks now, before the cgroup goes.
  void check();
  bool saw_kill() const { return seen_ > 0; }

 private:
  OomWatch(EventLoop& loop, Fd events, std::function<void()> on_kill)
      : loop_(loop), events_(std::move(events)), on_kill_(std::move(on_kill)) {}

  EventLoop& loop_;
  Fd events_;  // memory.events; none once the cgroup is gone
  std::function<void()> on_kill_;
  unsigned long long seen_ = 0;
};

}  // namespace nacre::guest
