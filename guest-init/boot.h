// SPDX-License-Identifier: Apache-2.0
// Sets the machine up, before there are containers, and ends it.
#pragma once

#include "base/result.h"

namespace nacre::guest {

// Makes log lines go to the console, or to the kernel's log if there is no console.
void set_up_console();
// Prepares what containers need: a root that can be pivoted away from, kernel file systems, cgroup controllers, the
// loopback interface, limits.
Result<void> set_up_machine();
// Mounts the host's share at kShareMountPoint.
Result<void> mount_share();
// Ends every process, writes everything back, powers off. Does not return.
[[noreturn]] void power_off();

}  // namespace nacre::guest
