// SPDX-License-Identifier: Apache-2.0
// Locks a stand-in in when its container is made, because from then on the guest talks to the stand-in for as long as
// the container runs. runtime/container/standin/syscalls_ARCHITECTURE.cc lists the system calls that a stand-in may
// still make. With NACRE_SECCOMP=log in the environment the kernel lets the others through, and logs them.
#pragma once

#include "base/result.h"

namespace nacre::runtime {

// Gives up the capabilities of the calling thread and installs the stand-in's filter of system calls. Threads that it
// starts afterwards have both too.
Result<void> lock_standin();

// Does the same for a process that stands for one of `exec`, in the foreground or not.
Result<void> lock_exec();

// Installs the filter of the thread that follows the host's mounts, which keeps its capabilities.
Result<void> lock_mount_follower();

}  // namespace nacre::runtime
