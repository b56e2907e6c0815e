// The guest's out-of-memory kills, shown where engines look for them.
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre::runtime {

// conmon, containerd and dockerd watch `oom_kill` in memory.events of the host's cgroup of the container's pid. A kill
// by the guest's kernel does not touch that: this adds one there, by a process that is there to be killed. See oom.cc.
class OomSign {
 public:
  // For our own cgroup, whose directory this is (empty: none). What it needs of the host's files it opens here: the
  // stand-in leaves the host's mounts.
  explicit OomSign(const std::string& cgroup);

  // Blocks for some milliseconds. Not more often than is good for the host, however often the guest says so. Where it
  // does not work a debug line says why.
  void show();

 private:
  Result<void> kill_one() const;

  Fd cgroup_, parent_, proc_;
  std::chrono::steady_clock::time_point next_ = {};
};

}  // namespace nacre::runtime
