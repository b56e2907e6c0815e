// The machine's own setup, before there are containers, and its end.
#pragma once

#include "base/result.h"

namespace nacre::guest {

// Log lines go to the console, or where there is none to the kernel's log.
void set_up_console();
// Root that can be pivoted away from, kernel file systems, cgroup controllers, loopback, limits.
Result<void> set_up_machine();
// The host's directory at kShareMountPoint.
Result<void> mount_share();
// Ends every process, writes everything back, powers off. Does not return.
[[noreturn]] void power_off();

}  // namespace nacre::guest
