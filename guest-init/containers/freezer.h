// SPDX-License-Identifier: Apache-2.0
// Stops and resumes all processes of a cgroup (cgroup-v2.rst, "cgroup.freeze").
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/kernel/cgroup_watch.h"

namespace nacre::guest {

class Freezer {
 public:
  using Done = std::function<void(const Result<void>&)>;

  // `cgroup`, a descriptor of its directory, must outlive this.
  Freezer(EventLoop& loop, int cgroup) : loop_(loop), cgroup_(cgroup) {}
  ~Freezer();
  Freezer(const Freezer&) = delete;
  Freezer& operator=(const Freezer&) = delete;

  // Returns true from the moment at which freezing was asked for.
  bool is_frozen() const { return state_ != State::thawed; }
  // Stops the processes, and calls `done` when all stand still; at once if they do already. A process that hangs in the
  // kernel cannot be frozen: after ten seconds that is an error, and all run on.
  void freeze(Done done);
  // Lets the processes run on. A freeze() that is not done fails.
  Result<void> thaw();

 private:
  enum class State { thawed, freezing, frozen };

  Result<void> begin();
  void check(std::optional<std::string_view> events);
  void give_up(const Error& error);
  void finish(const Result<void>& outcome);
  Result<void> write(const char* value) const;

  EventLoop& loop_;
  const int cgroup_;
  State state_ = State::thawed;
  std::vector<Done> waiting_;
  std::unique_ptr<CgroupWatch> events_;  // of cgroup.events, which says when all stand still
  Fd timer_;
};

}  // namespace nacre::guest
