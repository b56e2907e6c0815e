// SPDX-License-Identifier: Apache-2.0
// The destinations of mounts that a root filesystem lacks.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/config/config.h"
#include "runtime/plan/plan.h"

namespace nacre::runtime {

// Gives each tmpfs on a place that is `missing` from the root filesystem the mode that a tmpfs has by default. A tmpfs
// has the mode of the directory that it covers, and make_mountpoints() makes that directory with another mode.
void give_tmpfs_modes(std::vector<oci::Mount>& mounts, const std::set<std::string>& missing);

// Makes what a read-only root filesystem lacks, because the guest cannot, since the host refuses its writes: the
// destinations of mounts, the working directory, the links of /dev, and an empty file for each device. Never follows a
// link out of the root filesystem.
Result<void> make_mountpoints(const HostPlan& plan);

}  // namespace nacre::runtime
