// SPDX-License-Identifier: Apache-2.0
// Reads the mounts of a mount namespace from /proc/PID/mountinfo (proc(5)).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace nacre {

struct MountInfo {
  uint64_t id = 0;
  std::string device;                // of the file system, "MAJOR:MINOR"
  std::string root;                  // the directory of the file system that is mounted
  std::string point;                 // where the directory is mounted
  std::vector<std::string> options;  // those of the mount, such as "rw", "nosuid"
  std::string type;
  std::vector<std::string> super_options;  // those of the file system, such as "cpu", "cpuacct"
};

Result<std::vector<MountInfo>> read_mountinfo();
// Reads an open /proc/PID/mountinfo: the mounts, as they are now, of the namespace that PID was in when the file was
// opened.
Result<std::vector<MountInfo>> read_mountinfo(int fd);

// Returns MountInfo::id of the mount at `path`, or 0 if there is nothing. An empty `path` means `directory` itself. A
// symbolic link at the end is not followed. Opens no descriptor, because that would keep others from unmounting.
uint64_t mount_at(int directory, const std::string& path);
// Returns the id of the mount that the kernel never gives to another mount (since Linux 6.8), or 0 on older kernels.
uint64_t unique_mount_at(int directory, const std::string& path);
// Returns whether a mount still exists, with statmount(2): without touching the mount, so that a concurrent umount(2)
// is not disturbed. Returns true if the kernel cannot tell.
bool unique_mount_exists(uint64_t unique_id);

}  // namespace nacre
