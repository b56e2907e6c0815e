// SPDX-License-Identifier: Apache-2.0
// The mounts of a configuration: who makes each, the guest, the host, or guest-init from what the host serves.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/config/config.h"
#include "runtime/plan/facts.h"

namespace nacre::runtime {

// A file system that the configuration mounts and that only the host can mount, such as podman's overlay volumes.
struct HostFilesystem {
  std::string name;  // "mounts[N]"
  // As mount(2) takes them.
  std::string type, source, data;  // the data has linux.mountLabel, if there is one
  unsigned long flags = 0;
  std::string place;  // the directory to mount it on, in the container's own; the stand-in makes it
};

struct PlannedMounts {
  // In the order of config.json. `json` is what the guest gets; `share_path` is the full name in the share, and empty
  // for what the host does not serve.
  std::vector<oci::Mount> mounts;
  std::vector<HostFilesystem> filesystems;
};

// Decides all mounts. `prefix` begins the names in the share; `directory` is the container's own. Fails with EPERM for
// a part of the host's /proc.
Result<PlannedMounts> plan_mounts(const oci::Config& config, const HostFacts& facts, const std::string& prefix,
                                  const std::string& directory);

// Returns true for the destinations that plan_mounts() wants to know the source of: /dev/shm, /proc, /sys and
// /sys/fs/cgroup.
bool may_be_kept_in_guest(const std::string& destination);

// Returns true for a mount that is a tmpfs, or may become one.
bool may_be_tmpfs(const oci::Mount& mount);

// Each of these returns what a mount becomes, or nothing if the rule is not about that mount.
//
// podman and docker make a tmpfs of --shm-size on the host for each container and bind it on /dev/shm. Memory that
// processes of the guest share has to be the guest's: such a mount becomes a tmpfs of that size in the guest.
std::optional<oci::Mount> to_guest_shared_memory(const oci::Mount& mount, const SourceFacts& source,
                                                 const std::string& secret);
// Callers bind the host's /proc, /sys or /sys/fs/cgroup on the same place if the container is to see the host's
// processes (rootless callers, who may not mount new ones). In a VM the guest's own belongs there.
std::optional<oci::Mount> to_guest_kernel_filesystem(const oci::Mount& mount, const SourceFacts& source);
// The host mounts the file system in `directory`, and the guest gets a bind mount of it.
struct MountedByHost {
  oci::Mount mount;
  HostFilesystem filesystem;
};
std::optional<MountedByHost> to_host_filesystem(const oci::Mount& mount, const std::string& directory);

// Returns the mount that shows the container its own notify socket (protocol.h, "notify").
oci::Mount notify_mount(const std::string& id);
// What NOTIFY_SOCKET is in the container's environment (sd_notify(3)).
std::string notify_socket_variable();

// Returns those options of a bind mount that do not concern binding, for a bind mount that becomes another mount.
nlohmann::json unbound_options(const nlohmann::json& mount);

}  // namespace nacre::runtime
