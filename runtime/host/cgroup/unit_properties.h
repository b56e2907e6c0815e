// SPDX-License-Identifier: Apache-2.0
// Translates the limits in a version 2 cgroup's files to properties of a systemd unit (systemd.resource-control(5)).
// systemd writes these files at times: with the properties it writes the same values.
#pragma once

#include <string>
#include <vector>

#include "oci/cgroup_files.h"
#include "runtime/host/systemd/unit.h"

namespace nacre::runtime {

// Returns the properties for `files`. Leaves out a value if systemd has no property for it.
UnitProperties properties_of(const std::vector<oci::CgroupFile>& files);

// Returns cpu.max as systemd would write it: its quotas are whole percents of a CPU. Rounds up, as runc does.
std::string in_percents(const std::string& cpu_max);

}  // namespace nacre::runtime
