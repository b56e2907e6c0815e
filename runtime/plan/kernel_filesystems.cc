// SPDX-License-Identifier: Apache-2.0
#include <linux/magic.h>

#include <string_view>

#include "runtime/plan/mounts.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

struct KernelFilesystem {
  std::string_view place;  // "": anywhere
  long magic;              // as statfs(2) gives it
  const char* type;
};
constexpr KernelFilesystem kFilesystems[] = {{"", PROC_SUPER_MAGIC, "proc"},
                                             {"/sys", SYSFS_MAGIC, "sysfs"},
                                             {"/sys/fs/cgroup", CGROUP2_SUPER_MAGIC, "cgroup"},
                                             // the hierarchies of version 1 are mounted in one
                                             {"/sys/fs/cgroup", TMPFS_MAGIC, "cgroup"}};

constexpr uint64_t kRootInode = 1;  // of each of these file systems

}  // namespace

std::optional<oci::Mount> to_guest_kernel_filesystem(const oci::Mount& mount, const SourceFacts& source) {
  // A tmpfs on another place may hold anything.
  if (source.filesystem == TMPFS_MAGIC && mount.source != mount.destination) return std::nullopt;
  for (const KernelFilesystem& known : kFilesystems) {
    bool is_there = known.place.empty() || mount.destination == known.place;
    if (!is_there || source.filesystem != known.magic || source.inode != kRootInode) continue;
    oci::Mount made = mount;
    made.type = made.source = known.type;
    made.bind = false;
    made.json = {{"destination", mount.destination},
                 {"type", known.type},
                 {"source", known.type},
                 {"options", unbound_options(mount.json)}};
    return made;
  }
  return std::nullopt;
}

}  // namespace nacre::runtime
