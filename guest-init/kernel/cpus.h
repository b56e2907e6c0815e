// The machine's CPUs: as many as the kernel knows of, of which some are online.
#pragma once

#include <string>

#include "base/result.h"

namespace nacre::guest {

// `path` is /sys/devices/system/cpu. CPU 0 is always online.
unsigned count_online_cpus(const std::string& path);
// The first `count` are online after this, and no others. May take the kernel long. On an error of one that is to come
// online nothing is changed.
Result<void> set_online_cpus(const std::string& path, unsigned count);

}  // namespace nacre::guest
