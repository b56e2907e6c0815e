// SPDX-License-Identifier: Apache-2.0
// Makes the processes that child/child.h describes.
#pragma once

#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "guest-init/containers/container.h"
#include "guest-init/containers/joined_namespaces.h"
#include "guest-init/link/transport.h"

namespace nacre::guest {

using protocol::StdioWanted;

// Fill in the process: pid, descriptors, streams. Then its setup has begun; the caller watches for its messages.
Result<void> spawn_first(Container& container, const std::vector<NamespaceJoin>& joins, const StdioWanted& stdio,
                         SpawnContext context);
Result<void> spawn_exec(Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                        const std::optional<std::string>& sub_cgroup, SpawnContext context);

}  // namespace nacre::guest
