// The guest's out-of-memory kills, shown where engines look for them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"

namespace nacre::runtime {

// How a version of cgroups is made to show a kill: by a process that is there to be killed.
class OomKill {
 public:
  virtual ~OomKill() = default;
  virtual Result<void> show_one() const = 0;
};

// conmon, containerd and dockerd watch the host's cgroup of the container's pid: `oom_kill` in memory.events of version
// 2, the events and the `oom_kill` of memory.oom_control of version 1. A kill by the guest's kernel does not touch
// those. This adds one there. See oom_v2.cc and oom_v1.cc.
class OomSign {
 public:
  // For our own cgroup (runtime/host/cgroup/cgroup.h; empty: none), where vmm, our child, runs too; 0 where it does
  // not. What it needs of the host's files it opens here: the stand-in leaves the host's mounts.
  OomSign(const std::string& cgroup, pid_t vmm);

  // Blocks for some milliseconds. Not more often than is good for the host, however often the guest says so. Where it
  // does not work a debug line says why.
  void show();

 private:
  std::unique_ptr<OomKill> kill_;
  std::chrono::steady_clock::time_point next_ = {};
};

}  // namespace nacre::runtime
