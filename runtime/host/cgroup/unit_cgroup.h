// The cgroup of --systemd-cgroup: a transient unit of systemd's, with version 2's directory.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/host/cgroup/holder.h"

namespace nacre::runtime {

struct UnitCgroup {
  std::string name;  // as in cgroup.h
  Holder holder;     // until a process has entered
};

// For a linux.cgroupsPath in systemd's form, with the properties that annotations ask for. An error where the host does
// not run systemd. On an error nothing is left. With cgroup version 1 there is the cgroup alone, where systemd would
// have it.
Result<UnitCgroup> make_unit_cgroup(const std::string& cgroups_path, const std::string& id,
                                    const nlohmann::json& resources,
                                    const std::map<std::string, std::string>& annotations);

}  // namespace nacre::runtime
