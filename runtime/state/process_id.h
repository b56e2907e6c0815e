// SPDX-License-Identifier: Apache-2.0
// Identifies processes by pid and start time, so that a later process with the same pid is told apart.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace nacre::runtime {

struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot: field 22 of /proc/PID/stat, proc(5)

  bool operator==(const ProcessId&) const = default;
};

Result<ProcessId> identify(pid_t pid);

// Returns true if the process exists and has not ended. A zombie has ended, unless it still has threads.
bool is_alive(const ProcessId& process);

// Opens a pidfd for waiting and signals. Fails with ESRCH if the process has ended.
Result<Fd> open_process(const ProcessId& process);

// Returns how long the thread of the process that waited longest has been ready to run while others had the CPUs.
// Returns 0 if the process has ended or the kernel does not count this (field 2 of /proc/PID/task/TID/schedstat:
// Documentation/scheduler/sched-stats.rst).
std::chrono::milliseconds time_without_cpu(pid_t pid);

// Returns those of `pids` that are children of `parent`.
std::vector<pid_t> children_among(const std::vector<pid_t>& pids, pid_t parent);

// Sends SIGKILL and waits until the process has ended (a zombie has), at most `timeout_ms`. Succeeds if there is no
// such process.
Result<void> kill_and_wait(const ProcessId& process, int timeout_ms);

// Waits for the end of the process, at most `timeout_ms`. Returns false if the time has run out.
bool wait_for_end(const ProcessId& process, int timeout_ms);

}  // namespace nacre::runtime
