// The machine's CPUs. The kernel knows of a number of them, and some are online.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::guest {

// Returns how many CPUs are online. `path` is /sys/devices/system/cpu. CPU 0 is always online.
unsigned count_online_cpus(const std::string& path);
// Brings the first `count` CPUs online and all others offline. May take the kernel long. If a CPU cannot come online,
// nothing is changed.
Result<void> set_online_cpus(const std::string& path, unsigned count);

}  // namespace nacre::guest
