// SPDX-License-Identifier: Apache-2.0
// The cgroup of --systemd-cgroup: a transient unit of systemd, with a directory of version 2.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/holder.h"

namespace nacre::runtime {

struct UnitCgroup {
  std::string name;  // as in cgroup.h
  Holder holder;     // keeps the unit alive until a process has entered
};

// Makes the unit and its cgroup for a linux.cgroupsPath in systemd's form, with the properties that annotations ask
// for. With cgroup version 1 there is no unit: only the cgroup is made, at the path that systemd would use. Fails if
// the host does not run systemd. On an error nothing is left. `notice` does not hear of units: systemd removes one
// itself if nobody has entered it.
Result<UnitCgroup> make_unit_cgroup(const std::string& cgroups_path, const std::string& id,
                                    const nlohmann::json& resources,
                                    const std::map<std::string, std::string>& annotations, const CgroupNotice& notice);

}  // namespace nacre::runtime
