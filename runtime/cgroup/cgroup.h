// The container's cgroup on the host: the stand-in and vmm live there, so its figures are what the VM costs, and the
// limits that compare the container with others act there (runtime/limits).
//
// cgroup version 2 only. Made, found and removed as runc does it; an error where that fails for root. Others have none
// where they may not make one, and a debug line says so.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace nacre::runtime {

// The directory that a linux.cgroupsPath in cgroupfs form stands for: an absolute path is below the mount point, a
// relative one (or the id, where there is none) beside our own cgroup. ".." does not lead out.
Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id);

// Makes the cgroup, with all controllers on the way to it, and returns its directory; empty if there is none.
// `domain_limits`: it is to have limits of controllers that threaded cgroups cannot have. On an error nothing is left.
Result<std::string> make_cgroup(const std::string& cgroups_path, const std::string& id, bool domain_limits);

// Makes a cgroup beside others, where there are controllers already, and moves a process there.
Result<void> move_to_new_cgroup(const std::string& directory, pid_t pid);

// Moves the calling process; its later children are born there.
Result<void> enter_cgroup(const std::string& directory);

// Pids, without those of cgroups below; none if there is no such cgroup.
std::vector<pid_t> processes_in(const std::string& directory);

// With the cgroups below it. Its processes must have ended.
void remove_cgroup(const std::string& directory);

// The same for the last process in it.
void leave_and_remove_cgroup(const std::string& directory);

}  // namespace nacre::runtime
