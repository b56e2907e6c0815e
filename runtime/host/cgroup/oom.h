// SPDX-License-Identifier: Apache-2.0
// Shows the guest's out-of-memory kills where engines look for them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"

namespace nacre::runtime {

// Makes the host's kernel count a kill in a cgroup, by a process that exists to be killed. One class for each version
// of cgroups.
class OomKill {
 public:
  virtual ~OomKill() = default;
  virtual Result<void> show_one() const = 0;
};

// Decides how often kills are shown, because a hostile guest reports as many as it likes, and each costs the host a
// process, a kill and lines in the kernel's log. Honest kills are few, and engines want to know that there were any.
class OomPace {
 public:
  using Time = std::chrono::steady_clock::time_point;

  bool is_due(Time now) const { return now >= next_; }
  // Counts an attempt, successful or not, that has ended at `now`.
  void count(Time now);

 private:
  Time next_ = {};
  unsigned count_ = 0;
};

// conmon, containerd and dockerd watch the host's cgroup of the container's pid: `oom_kill` in memory.events of version
// 2, the events and the `oom_kill` of memory.oom_control of version 1. A kill by the guest's kernel does not touch
// those, so this class adds a kill there. See oom_v2.cc and oom_v1.cc.
class OomSign {
 public:
  // `cgroup` is the cgroup of this process, by its name (cgroup.h). `vmm` is the child that runs vmm in the same
  // cgroup, or 0 if vmm runs elsewhere. Opens all host files that show() needs, because the stand-in leaves the host's
  // mounts.
  OomSign(const std::string& cgroup, pid_t vmm);

  // Adds one kill, and blocks for some milliseconds. Calls that come sooner than OomPace says are dropped. On a failure
  // a debug line says why.
  void show();

 private:
  std::unique_ptr<OomKill> kill_;
  OomPace pace_;
};

}  // namespace nacre::runtime
