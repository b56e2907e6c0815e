// SPDX-License-Identifier: Apache-2.0
// Reads a container's /proc, for programs of the host that look for it in the container's root (podman top).
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

// Reads /proc of the pid namespace of `pid`. May block.
Result<protocol::ProcfsReply> read_proc_files(pid_t pid);

}  // namespace nacre::guest
