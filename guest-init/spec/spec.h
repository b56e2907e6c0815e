// What a container's processes and a container are to be: the OCI configuration (runtime-spec 1.2, config.md and
// config-linux.md), checked and in the kernel's terms, before anything is done.
#pragma once

#include <linux/filter.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "guest-init/kernel/device_filter.h"
#include "guest-init/kernel/id_mappings.h"
#include "guest-init/protocol/cgroup_files.h"
#include "guest-init/protocol/field.h"

namespace nacre::guest {

using protocol::Field;
using protocol::Json;

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
  bool hangs_up = true;  // when its input ends
};

// A seccomp filter as the kernel takes it.
struct SeccompFilter {
  std::vector<sock_filter> program;
  unsigned flags = 0;  // SECCOMP_FILTER_FLAG_*
};

// sched_setattr(2)'s struct sched_attr in its first version.
struct Scheduler {
  uint32_t size;
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;  // nanoseconds
};
static_assert(sizeof(Scheduler) == 48);

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
  std::optional<TerminalSpec> terminal;
  std::optional<Scheduler> scheduler;
  std::optional<int> io_priority;                     // as ioprio_set(2) takes it
  std::optional<cpu_set_t> initial_cpus, final_cpus;  // of an exec'ed process
  // The container's, also for an exec'ed process.
  std::optional<unsigned long> personality;
  std::string session_keyring;  // its name
  std::optional<SeccompFilter> seccomp;
};

// A mount as the kernel's new interface takes it: attributes of the mount, and options of the file system.
struct MountSpec {
  std::string destination;
  std::string type;  // "bind" for both kinds of bind mount
  std::string source;
  bool in_root = false;                   // the source of a bind mount: a path in the container's own root
  bool recursive = false;                 // rbind
  bool copy_up = false;                   // tmpcopyup: a tmpfs starts with what it covers
  uint64_t set = 0, clear = 0;            // MOUNT_ATTR_* of the mount itself
  uint64_t deep_set = 0, deep_clear = 0;  // and of those below too (rro and the like)
  std::vector<uint64_t> propagation;      // MS_SHARED and the like, with MS_REC; in order
  std::vector<std::string> options;       // "key" or "key=value", for the file system
  std::optional<IdMappings> ids;          // of a bind mount: how the ids of its files are mapped
  bool map_below = false;                 // and those of the mounts below it
  std::string shared;                     // a tmpfs that other containers see too: its key (containers/shared_mounts.h)
};

struct DeviceSpec {
  std::string path;
  mode_t type;  // S_IFCHR, S_IFBLK, S_IFIFO
  unsigned major = 0, minor = 0;
  mode_t mode = 0666;
  uid_t uid = 0;
  gid_t gid = 0;
};

// A program that runs in the container before its own does (runtime-spec, config.md, "startContainer Hooks").
struct HookSpec {
  std::string path;
  std::vector<std::string> args;
  std::optional<std::vector<std::string>> env;  // none: that of the container's process
  std::optional<int> timeout_s;
};

struct StartHooks {
  std::vector<HookSpec> hooks;
  Json state;  // what they are told, but for the pid
};

// What is added to a clock in a time namespace (time_namespaces(7)).
struct ClockOffset {
  std::string clock;  // "monotonic", "boottime"
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
};

struct ContainerSpec {
  ProcessSpec process;
  std::string root_path;
  bool root_readonly = false;
  uint64_t root_propagation = 0;  // MS_* or 0
  std::string hostname, domainname;
  // CLONE_NEW* of the namespaces that are not the machine's own, and those among them that are another container's.
  uint64_t namespaces = 0, joined = 0;
  uint64_t own_namespaces() const { return namespaces & ~joined; }
  bool lists_network = false;  // the configuration has a network namespace
  IdMappings user;             // of the user namespace, where there is one
  std::vector<ClockOffset> clock_offsets;
  std::vector<MountSpec> mounts;
  std::vector<DeviceSpec> devices;  // the standard ones are not in here
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<std::pair<std::string, std::string>> sysctls;  // path below /proc/sys, value
  std::vector<protocol::CgroupFile> cgroup_files;
  std::vector<DeviceRule> device_rules;
  StartHooks start_hooks;
};

Result<ProcessSpec> parse_process(const Field& process);
// Of a user namespace: an error where the process's user or group is none of its ids.
Result<void> check_user(const ProcessSpec& process, const ContainerSpec& container);
Result<ContainerSpec> parse_container(const Json& config);
Result<std::optional<Scheduler>> parse_scheduler(const Field& scheduler);
Result<std::optional<int>> parse_io_priority(const Field& priority);
Result<std::optional<cpu_set_t>> parse_cpus(const Field& list);
// `bundle` is of the create request, as is the container's `id`.
Result<StartHooks> parse_start_hooks(const Json& config, const std::string& id, const Field& bundle);
// "seccomp" of a create request.
Result<std::optional<SeccompFilter>> parse_seccomp(const Field& seccomp);

// CLONE_NEW* of a type in the specification's words; 0 where it is unknown.
uint64_t namespace_flag(std::string_view type);

// Parts of parse_container().
Result<MountSpec> parse_mount(const Field& mount);
Result<uint64_t> parse_propagation(const std::string& name);  // MS_*; 0 where the name is not one
// linux.resources, as far as it acts in the guest.
Result<std::vector<protocol::CgroupFile>> parse_resources(const Field& resources);
Result<DeviceSpec> parse_device(const Field& device);
// With those that every container has.
Result<std::vector<DeviceRule>> parse_device_rules(const Field& rules);

}  // namespace nacre::guest
