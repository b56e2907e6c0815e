// The container's cgroup on the host: a place for accounting, shared by the stand-in and vmm.
//
// cgroup version 2 only, and linux.cgroupsPath in its cgroupfs form only. No container fails for want of a cgroup:
// where there is none a debug line says so.
#pragma once

#include <string>

namespace nacre::runtime {

// Makes the cgroup for a linux.cgroupsPath and returns its directory; empty if there is none.
std::string make_cgroup(const std::string& cgroups_path);

// Moves the calling process; its later children are born there.
void enter_cgroup(const std::string& directory);

// Its processes must have ended.
void remove_cgroup(const std::string& directory);

// The same for the last process in it.
void leave_and_remove_cgroup(const std::string& directory);

}  // namespace nacre::runtime
