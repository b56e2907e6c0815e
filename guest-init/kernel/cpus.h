// SPDX-License-Identifier: Apache-2.0
// The machine's CPUs. The kernel knows of a number of them, and some are online.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace nacre::guest {

// Returns how many CPUs there are, online or not. `path` is /sys/devices/system/cpu, here and below.
unsigned count_cpus(const std::string& path);
// Returns how many CPUs are online. CPU 0 always is.
unsigned count_online_cpus(const std::string& path);
// Brings the first `count` CPUs online and all others offline. May take the kernel long. If a CPU cannot come online,
// nothing is changed.
Result<void> set_online_cpus(const std::string& path, unsigned count);

// Chooses CPUs for a container, of a machine that has `machine` of them: those that the fewest other containers have,
// and of these the ones with the lowest numbers. In ascending order; all CPUs if there are no more than `count`.
std::vector<unsigned> choose_cpus(unsigned count, unsigned machine, const std::vector<std::vector<unsigned>>& others);

}  // namespace nacre::guest
