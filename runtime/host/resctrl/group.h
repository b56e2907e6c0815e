// SPDX-License-Identifier: Apache-2.0
// Intel RDT limits and measures how much of the last-level cache and of the memory's bandwidth the VM's threads use.
// linux.intelRdt of config.json is carried out by the kernel's resctrl file system
// (Documentation/arch/x86/resctrl.rst). A directory there is a group of threads. A child process starts in its parent's
// group.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::resctrl {

// Returns the mount point of resctrl on the host, or "" if it is not mounted.
std::string mount_point();

// Tell what resctrl, mounted at `root`, supports.
bool has_cache_allocation(const std::string& root);      // CAT
bool has_bandwidth_allocation(const std::string& root);  // MBA
bool has_monitoring(const std::string& root);            // CMT or MBM

struct Group {
  std::string path = {};
  std::string monitoring = {};  // directory of a monitoring group of the container's own; empty: none
  bool of_container = false;    // made for the container, and removed with it
};

// What a host's resctrl file system offers.
struct Support {
  std::string root;  // empty: not mounted
  bool has_cache_allocation = false;
  bool has_bandwidth_allocation = false;
};
Support support(const std::string& root);

// Checks that the host can do what `intel_rdt` asks for (linux.intelRdt, whose types the schema has checked). Errors
// have runc's words.
Result<void> check(const Support& host, const nlohmann::json& intel_rdt);

// Makes the group of container `id`, or finds the group that `intel_rdt` names, and sets its allocation.
Result<Group> make(const std::string& root, const nlohmann::json& intel_rdt, const std::string& id);
// Moves the calling process into the group.
Result<void> enter(const Group& group);
// Writes a line of the group's schemata, such as "L3:0=ff;1=c0".
Result<void> allocate(const std::string& root, const Group& group, const std::string& line);
// Removes the group. Threads that are still in the group fall back to the file system's root.
void remove(const Group& group);

// Writes the group to the container's directory, for later commands.
Result<void> keep(const runtime::ContainerDir& dir, const Group& group);
std::optional<Group> kept(const runtime::ContainerDir& dir);

}  // namespace nacre::resctrl
