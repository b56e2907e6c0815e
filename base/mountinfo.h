// The mounts of our namespace, as /proc/self/mountinfo lists them (proc(5)).
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
  std::string point;                 // where
  std::vector<std::string> options;  // those of the mount, such as "rw", "nosuid"
  std::string type;
  std::vector<std::string> super_options;  // those of the file system, such as "cpu", "cpuacct"
};

Result<std::vector<MountInfo>> read_mountinfo();
// As an open /proc/PID/mountinfo has it now: the mounts of the namespace that PID was in when it was opened.
Result<std::vector<MountInfo>> read_mountinfo(int fd);

// MountInfo::id of the mount that one finds at a path, "" being `directory` itself; 0 where there is nothing. A
// symbolic link at its end is not followed. No descriptor is opened meanwhile: it would keep others from unmounting.
uint64_t mount_at(int directory, const std::string& path);
// Ids are soon given to others; since Linux 6.8 there is one that is not. 0 on older kernels.
uint64_t unique_mount_at(int directory, const std::string& path);
// statmount(2): without a look at the mount itself, of which umount(2) could be in the way. True where it cannot be
// told.
bool unique_mount_exists(uint64_t unique_id);

}  // namespace nacre
