// SPDX-License-Identifier: Apache-2.0
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
#include "guest-init/protocol/messages.h"
#include "oci/cgroup_files.h"
#include "oci/json_field.h"

namespace nacre::guest {

using oci::Json;
using oci::JsonField;

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
  // Whether the terminal turns "\n" into "\r\n". It does not if the user's own terminal does.
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
  std::optional<int> io_priority;                     // in ioprio_set(2)'s form
  std::optional<cpu_set_t> initial_cpus, final_cpus;  // for an exec'ed process
  // Those of the container, also for an exec'ed process.
  std::optional<unsigned long> personality;
  std::string session_keyring;  // its name
  std::optional<SeccompFilter> seccomp;
};

// A mount in the terms of the kernel's new interface: attributes of the mount, and options of the file system.
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
  std::string shared;  // the key of a tmpfs that other containers see too (containers/shared_mounts.h)
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
  std::optional<std::vector<std::string>> env;  // not set: that of the container's process
  std::optional<int> timeout_s;
};

struct StartHooks {
  std::vector<HookSpec> hooks;
  Json state;  // what they are told, without the pid
};

// What is added to a clock in a time namespace (time_namespaces(7)).
struct ClockOffset {
  std::string clock;  // "monotonic", "boottime"
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
};

// Holds the limits of linux.resources that act in the guest. The rules for devices are apart.
struct Limits {
  std::vector<oci::CgroupFile> files;  // of the container's cgroup
  unsigned cpus = 0;                   // how many of the machine's CPUs the container may use; 0: all
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
  std::vector<DeviceSpec> devices;  // without the standard ones
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<std::pair<std::string, std::string>> sysctls;  // path below /proc/sys, value
  Limits limits;
  std::vector<DeviceRule> device_rules;
  StartHooks start_hooks;
};

Result<ProcessSpec> parse_process(const JsonField& process);
// Fails if the container has a user namespace without the ids of the process's user or group.
Result<void> check_user(const ProcessSpec& process, const ContainerSpec& container);
Result<ContainerSpec> parse_container(const Json& config);
Result<std::optional<Scheduler>> parse_scheduler(const JsonField& scheduler);
Result<std::optional<int>> parse_io_priority(const JsonField& priority);
Result<std::optional<cpu_set_t>> parse_cpus(const JsonField& list);
// `id` and `bundle` are those of the Create request.
Result<StartHooks> parse_start_hooks(const Json& config, const std::string& id, const std::string& bundle);
Result<SeccompFilter> parse_seccomp(const protocol::SeccompProgram& seccomp);

// Returns CLONE_NEW* for a type in the specification's words; 0 if the type is unknown.
uint64_t namespace_flag(std::string_view type);

// Parts of parse_container().
Result<MountSpec> parse_mount(const JsonField& mount);
Result<uint64_t> parse_propagation(const std::string& name);  // MS_*; 0 if the name is not one
Result<Limits> parse_resources(const JsonField& resources);
Result<DeviceSpec> parse_device(const JsonField& device);
// Returns the rules together with those that every container has.
Result<std::vector<DeviceRule>> parse_device_rules(const JsonField& rules);

}  // namespace nacre::guest
