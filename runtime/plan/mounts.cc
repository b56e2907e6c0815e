// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/mounts.h"

#include <linux/magic.h>

#include <array>
#include <cerrno>

#include "base/confinement.h"
#include "guest-init/protocol/protocol.h"
#include "runtime/plan/mountpoints.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr std::array kKeptInGuest = {"/dev/shm", "/proc", "/sys", "/sys/fs/cgroup"};

// Returns what the mount becomes by the first rule that is about it. `label` is linux.mountLabel.
Result<oci::Mount> decide(const oci::Mount& mount, const HostFacts& facts, const std::string& directory,
                          const std::string& label, std::vector<HostFilesystem>& filesystems) {
  if (auto source = facts.sources.find(mount.source); mount.bind && source != facts.sources.end()) {
    if (auto made = to_guest_shared_memory(mount, source->second, facts.secret)) return *made;
    if (auto made = to_guest_kernel_filesystem(mount, source->second)) return *made;
    // vmm's own memory is a file there, which vmm may open.
    if (source->second.filesystem == PROC_SUPER_MAGIC) {
      return fail("bind mount of " + mount.source + ": the host's /proc is not shared with a VM", EPERM);
    }
  }
  if (auto made = to_host_filesystem(mount, directory)) {
    filesystems.push_back(std::move(made->filesystem));
    if (!label.empty()) {
      std::string& data = filesystems.back().data;
      data += (data.empty() ? "" : ",") + mount_context(label);
    }
    return std::move(made->mount);
  }
  return mount;
}

void place_in_share(oci::Mount& mount, const std::string& prefix) {
  if (!mount.bind) {
    mount.share_path.clear();
    return;
  }
  mount.share_path = prefix + mount.share_path;
  mount.json["source"] = std::string(protocol::kShareMountPoint) + "/" + mount.share_path;
}

}  // namespace

bool may_be_kept_in_guest(const std::string& destination) {
  for (const char* place : kKeptInGuest) {
    if (destination == place) return true;
  }
  return false;
}

bool may_be_tmpfs(const oci::Mount& mount) {
  return mount.type == "tmpfs" || may_be_kept_in_guest(mount.destination);
}

Result<PlannedMounts> plan_mounts(const oci::Config& config, const HostFacts& facts, const std::string& prefix,
                                  const std::string& directory) {
  PlannedMounts planned;
  for (const oci::Mount& mount : config.mounts) {
    planned.mounts.push_back(TRY(decide(mount, facts, directory, config.mount_label, planned.filesystems)));
    place_in_share(planned.mounts.back(), prefix);
  }
  give_tmpfs_modes(planned.mounts, facts.missing_destinations);
  return planned;
}

}  // namespace nacre::runtime
