// SPDX-License-Identifier: Apache-2.0
// What a plan has to know of the host. collect_facts() asks for all of it beforehand, so that make_plan() computes and
// asks nobody, and tests can invent hosts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/config/administrator.h"
#include "runtime/config/config.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/state/process_id.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// The variable that sets vmm::Jail::seccomp of every VM, and the same for stand-ins.
inline constexpr const char* kSeccompVariable = "NACRE_SECCOMP";

// Where the parts of the product are: $NACRE_VMM, $NACRE_KERNEL and $NACRE_INITRAMFS, or else beside the program as it
// is installed (PREFIX/bin/vmm, PREFIX/lib/nacre/vmlinux, PREFIX/lib/nacre/initramfs.cpio).
struct Parts {
  std::string vmm;
  std::string kernel;
  std::string initramfs;
  std::string seccomp = vmm::kSeccompKill;  // $NACRE_SECCOMP
};

struct Rlimit {
  std::string name;  // "RLIMIT_NOFILE"
  uint64_t soft = 0, hard = 0;
};

// Describes the source of a bind mount. Only those are looked at that may belong to the guest's kernel, and what lies
// on a /proc.
struct SourceFacts {
  long filesystem = 0;           // the magic number of statfs(2)
  uint64_t filesystem_size = 0;  // bytes
  uint64_t device = 0, inode = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  bool is_mount_point = false;
  bool is_empty = false;  // a directory without entries
};

// The container of ours that has a namespace.
struct NamespaceOwner {
  std::string id;
  ProcessId vmm;
};

// What a path of linux.namespaces leads to.
struct FoundNamespace {
  std::optional<NamespaceOwner> owner = {};
  nlohmann::json mappings = {};                // of a user namespace: {uidMappings, gidMappings}
  std::string hostname = {}, domainname = {};  // of a uts namespace; may be empty
};
using FoundNamespaces = std::map<std::string, FoundNamespace>;  // by type

struct HostFacts {
  Parts parts;
  HostSize size;
  oci::AdministratorLimits administrator;
  std::string secret;            // what no guest knows, and is the same for all containers; empty: unknown
  std::string hostname;          // empty: unknown
  std::vector<Rlimit> rlimits;   // of the caller
  std::vector<uint32_t> groups;  // the supplementary ones of the caller
  bool is_unprivileged = false;
  uint32_t uid = 0, gid = 0;
  bool has_notify_socket = false;  // the caller wants to hear that the container is ready (sd_notify(3))
  bool has_apparmor = false, has_selinux = false;
  resctrl::Support resctrl;
  // Begins the names of a container's trees in a share. No other container has it, nor one that has just gone.
  std::string unique_prefix;
  std::map<std::string, SourceFacts> sources;  // by path
  // Destinations of tmpfs mounts that a read-only root filesystem lacks.
  std::set<std::string> missing_destinations;
  FoundNamespaces namespaces;  // those that have a path
};

// Asks the host for what the plan of `config` needs. Containers of ours are looked for in `root`. An error names the
// part of config.json that leads nowhere.
Result<HostFacts> collect_facts(const oci::Config& config, const std::string& root);

// Returns the limits of this process. exec needs them without a plan.
std::vector<Rlimit> own_rlimits();

// Returns the supplementary groups of this process, which exec needs without a plan, too.
std::vector<uint32_t> own_groups();

// Returns a name that no other process gets: this process's pid and the time, since pids come again.
std::string make_unique_name();

}  // namespace nacre::runtime
