// A process named so that a later process with the same pid is not taken for it.
#pragma once

#include <sys/types.h>

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

// Whether the process exists and has not ended: a zombie has.
bool is_alive(const ProcessId& process);

// A descriptor of the process for waiting and signals; ESRCH where it has ended.
Result<Fd> open_process(const ProcessId& process);

// Those of `pids` that are its children.
std::vector<pid_t> children_among(const std::vector<pid_t>& pids, pid_t parent);

// Sends SIGKILL and waits until the process has ended (a zombie has), at most `timeout_ms`. Fine if there is none.
Result<void> kill_and_wait(const ProcessId& process, int timeout_ms);

// Waits for the end, at most `timeout_ms`; false when time ran out.
bool wait_for_end(const ProcessId& process, int timeout_ms);

}  // namespace nacre::runtime
