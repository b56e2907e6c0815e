// The container's cgroup on the host: the stand-in and vmm live there, so its figures are what the VM costs, and the
// limits that compare the container with others act there (files.h).
//
// Made, found and removed as runc does it; an error where that fails for root. Others have none where they may not make
// one, and a debug line says so.
//
// A cgroup has a name, one line of text that only this folder looks into: with version 2 its directory, which
// "systemd:" is before where that has a unit for it; with version 1 a JSON object of its directories, by controller;
// empty where there is no cgroup.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// Whether the host's controllers are those of version 1 (or of both, which is runc's "hybrid": the limits are version
// 1's there).
bool host_has_version_1();

// Makes the cgroup of a linux.cgroupsPath in cgroupfs form for these linux.resources (checked), and returns its name.
// On an error nothing is left.
Result<std::string> make_cgroup(const std::string& cgroups_path, const std::string& id,
                                const nlohmann::json& resources);

// Makes a cgroup beside another, with a suffix to its name, and moves processes there. The new one's name.
Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix, const std::vector<pid_t>& pids);

// Moves the calling process; its later children are born there.
Result<void> enter_cgroup(const std::string& cgroup);

// Pids, without those of cgroups below; none if there is no such cgroup.
std::vector<pid_t> processes_in(const std::string& cgroup);

// With the cgroups below it. Its processes must have ended.
void remove_cgroup(const std::string& cgroup);

// The same for the last process in it.
void leave_and_remove_cgroup(const std::string& cgroup);

}  // namespace nacre::runtime
