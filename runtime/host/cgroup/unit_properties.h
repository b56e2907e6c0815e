// What systemd is told of the limits in a version 2 cgroup's files, so that what it writes there itself at times says
// the same (systemd.resource-control(5)).
#pragma once

#include <string>
#include <vector>

#include "oci/cgroup_files.h"
#include "runtime/host/systemd/unit.h"

namespace nacre::runtime {

// A value that systemd has no words for is left out.
UnitProperties properties_of(const std::vector<oci::CgroupFile>& files);

// cpu.max as systemd would write it: its quotas are whole percents of a CPU. Rounded up, as runc does.
std::string in_percents(const std::string& cpu_max);

}  // namespace nacre::runtime
