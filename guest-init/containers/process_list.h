// SPDX-License-Identifier: Apache-2.0
// Reads what /proc says of processes, for `ps` on the host.
#pragma once

#include <sys/types.h>

#include <vector>

#include "guest-init/protocol/messages.h"

namespace nacre::guest {

// Describes the processes, but for those that end meanwhile. May block.
protocol::ProcessesReply list_processes(const std::vector<pid_t>& pids);

}  // namespace nacre::guest
