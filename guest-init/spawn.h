// Making the processes that child.h describes.
#pragma once

#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "guest-init/container.h"
#include "guest-init/transport.h"

namespace nacre::guest {

struct StdioWanted {
  std::array<bool, 3> open = {false, false, false};
};

struct SpawnContext {
  EventLoop& loop;
  Transport& transport;
  std::string cgroup_mount;
  // Called when a stream of the process has changed.
  std::function<void()> on_stream_change;
};

// Fill in the process: pid, descriptors, streams. Its setup has begun, not more; the caller watches `control`.
Result<void> spawn_first(Container& container, const StdioWanted& stdio, SpawnContext context);
Result<void> spawn_exec(Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                        SpawnContext context);

// The streams of a process with a terminal.
Result<void> add_terminal(Process& process, Fd master, const SpawnContext& context);

}  // namespace nacre::guest
