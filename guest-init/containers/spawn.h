// Making the processes that child/child.h describes.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "guest-init/containers/container.h"
#include "guest-init/containers/joined_namespaces.h"
#include "guest-init/link/transport.h"

namespace nacre::guest {

struct StdioWanted {
  std::array<bool, 3> open = {false, false, false};
  // Descriptors 3 and up: what the process can do with them. A pipe, or for both a socket.
  struct Passed {
    bool readable = false, writable = false;
  };
  std::vector<Passed> passed;
};

struct SpawnContext {
  EventLoop& loop;
  Transport& transport;
  std::string cgroup_mount;
  // Called when a stream of the process has changed.
  std::function<void()> on_stream_change;
};

// Fill in the process: pid, descriptors, streams. Its setup has begun, not more; the caller watches `control`.
Result<void> spawn_first(Container& container, const std::vector<NamespaceJoin>& joins, const StdioWanted& stdio,
                         SpawnContext context);
Result<void> spawn_exec(Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                        const std::optional<std::string>& sub_cgroup, SpawnContext context);

// The streams of a process with a terminal.
Result<void> add_terminal(Process& process, Fd master, const SpawnContext& context);

}  // namespace nacre::guest
