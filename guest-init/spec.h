// What a container's processes and a container are to be: the OCI configuration (runtime-spec 1.2, config.md and
// config-linux.md), checked and in the kernel's terms, before anything is done.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "guest-init/field.h"

namespace nacre::guest {

// Bit n is capability number n.
struct Capabilities {
  uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
};

struct Rlimit {
  int resource;
  std::string name;  // for errors
  rlimit limit;
};

struct TerminalSpec {
  uint16_t rows = 0, columns = 0;  // 0: not known
  // Whether the terminal turns "\n" into "\r\n". Not where the user's own terminal does.
  bool newlines = true;
};

struct ProcessSpec {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  mode_t umask = 0022;
  Capabilities capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::optional<unsigned long> personality;  // the container's, also for an exec'ed process
  std::optional<TerminalSpec> terminal;
};

// A mount as the kernel's new interface takes it: attributes of the mount, and options of the file system.
struct MountSpec {
  std::string destination;
  std::string type;  // "bind" for both kinds of bind mount
  std::string source;
  bool recursive = false;                 // rbind
  uint64_t set = 0, clear = 0;            // MOUNT_ATTR_* of the mount itself
  uint64_t deep_set = 0, deep_clear = 0;  // and of those below too (rro and the like)
  std::vector<uint64_t> propagation;      // MS_SHARED and the like, with MS_REC; in order
  std::vector<std::string> options;       // "key" or "key=value", for the file system
};

struct DeviceSpec {
  std::string path;
  mode_t type;  // S_IFCHR, S_IFBLK, S_IFIFO
  unsigned major = 0, minor = 0;
  mode_t mode = 0666;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct ContainerSpec {
  ProcessSpec process;
  std::string root_path;
  bool root_readonly = false;
  uint64_t root_propagation = 0;  // MS_* or 0
  std::string hostname, domainname;
  // CLONE_NEW* of the namespaces to make.
  uint64_t namespaces = 0;
  std::vector<MountSpec> mounts;
  std::vector<DeviceSpec> devices;  // the standard ones are not in here
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<std::pair<std::string, std::string>> sysctls;       // path below /proc/sys, value
  std::vector<std::pair<std::string, std::string>> cgroup_files;  // file in the container's cgroup, value
};

Result<ProcessSpec> parse_process(const Field& process);
Result<ContainerSpec> parse_container(const Json& config);

// Parts of parse_container().
Result<MountSpec> parse_mount(const Field& mount);
Result<uint64_t> parse_propagation(const std::string& name);  // MS_*; 0 where the name is not one
Result<std::vector<std::pair<std::string, std::string>>> parse_resources(const Field& resources);

}  // namespace nacre::guest
