// SPDX-License-Identifier: Apache-2.0
// The container's cgroup on the host. The stand-in and vmm live there. So its figures show what the VM costs, and the
// limits that compare the container with others act there (files.h).
//
// The cgroup is made, found and removed as runc does it. If that fails for root, it is an error. If other users may not
// make a cgroup, the container has none, and a debug line says so.
//
// A cgroup is named by a line of text whose format is private to this folder. Version 2: the directory, or
// "systemd:INODE:DIRECTORY" if the cgroup belongs to a unit of systemd. Version 1: a JSON object, {controller:
// directory}. Empty: no cgroup.
//
// The files of this folder:
//   cgroup.h, files.h               what others use: the cgroup's life, and its limits
//   version.h                       the interface of the versions below; v1.h, v2.h and unit_cgroup.h implement it
//   v1_files.h, v2_files.h          translate linux.resources to the files of a version
//   unit_properties.h, holder.h     what systemd has to be told, and the process that a new unit starts with
//   oom.h, oom_v1.cc, oom_v2.cc     show the guest's out-of-memory kills on the host
//   tree.h                          directories and files of cgroups
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// Returns true if the host's controllers are those of version 1. That includes runc's "hybrid" layout, which has both
// versions and keeps its limits in version 1.
bool host_has_version_1();

// Hears the name of a cgroup before anything of it is made. A process that is killed meanwhile has left word by then of
// what is to be removed. If this fails, nothing is made.
using CgroupNotice = std::function<Result<void>(const std::string& name)>;

// Makes the cgroup of a linux.cgroupsPath in cgroupfs form for these linux.resources (checked), and returns its name.
// On an error nothing is left.
Result<std::string> make_cgroup(const std::string& cgroups_path, const std::string& id, const nlohmann::json& resources,
                                const CgroupNotice& notice);

// Makes a cgroup beside `cgroup`, with a suffix to its name, moves processes there, and returns the new cgroup's name.
Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix, const std::vector<pid_t>& pids);

// Moves the calling process into the cgroup. Its later children start there.
Result<void> enter_cgroup(const std::string& cgroup);

// Moves the calling process into the cgroup that another process is in. Only version 2 has this.
Result<void> enter_cgroup_of(pid_t process);

// Returns the pids in the cgroup, without those of cgroups below. Returns none if there is no such cgroup.
std::vector<pid_t> processes_in(const std::string& cgroup);

// Removes the cgroup and the cgroups below it. Its processes must have ended.
void remove_cgroup(const std::string& cgroup);

// Removes the cgroup like remove_cgroup(), after moving the calling process, the last one there, out of it.
void leave_and_remove_cgroup(const std::string& cgroup);

}  // namespace nacre::runtime
