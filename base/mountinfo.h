// The mounts of our namespace, as /proc/self/mountinfo lists them (proc(5)).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace nacre {

struct MountInfo {
  uint64_t id = 0;
  std::string root;                  // the directory of the file system that is mounted
  std::string point;                 // where
  std::vector<std::string> options;  // those of the mount, such as "rw", "nosuid"
  std::string type;
  std::vector<std::string> super_options;  // those of the file system, such as "cpu", "cpuacct"
};

Result<std::vector<MountInfo>> read_mountinfo();
// As an open /proc/PID/mountinfo has it now: the mounts of the namespace that PID was in when it was opened.
Result<std::vector<MountInfo>> read_mountinfo(int fd);

}  // namespace nacre
