// Intel RDT: how much of the last-level cache and of the memory's bandwidth threads may use, and how much they do. Here
// the threads are the VM's. config.json's linux.intelRdt, by the kernel's resctrl file system
// (Documentation/arch/x86/resctrl.rst): a directory there is a group of threads, and a child is in its parent's.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::resctrl {

// Where the host has the file system mounted; empty: nowhere.
std::string mount_point();

// What is at `root`.
bool has_cache_allocation(const std::string& root);      // CAT
bool has_bandwidth_allocation(const std::string& root);  // MBA
bool has_monitoring(const std::string& root);            // CMT or MBM

struct Group {
  std::string path = {};
  std::string monitoring = {};  // directory of a monitoring group of the container's own; empty: none
  bool of_container = false;    // made for the container: it goes with it
};

// What a host's resctrl file system offers.
struct Support {
  std::string root;  // empty: it is not mounted
  bool has_cache_allocation = false;
  bool has_bandwidth_allocation = false;
};
Support support(const std::string& root);

// Checks that the host can do what `intel_rdt` asks for (linux.intelRdt, whose types the schema has checked). Errors
// have runc's words.
Result<void> check(const Support& host, const nlohmann::json& intel_rdt);

// The group of container `id`, with its allocation, or the one that `intel_rdt` names.
Result<Group> make(const std::string& root, const nlohmann::json& intel_rdt, const std::string& id);
// The calling process.
Result<void> enter(const Group& group);
// A line of its schemata, such as "L3:0=ff;1=c0".
Result<void> allocate(const std::string& root, const Group& group, const std::string& line);
// Threads that are still in it fall back to the file system's root.
void remove(const Group& group);

// For later commands, in the container's directory.
Result<void> keep(const runtime::ContainerDir& dir, const Group& group);
std::optional<Group> kept(const runtime::ContainerDir& dir);

}  // namespace nacre::resctrl
