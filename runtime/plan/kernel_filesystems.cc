#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <string_view>

#include "runtime/plan/translate.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

struct KernelFilesystem {
  std::string_view place;
  long magic;  // as statfs(2) gives it
  const char* type;
};
constexpr KernelFilesystem kFilesystems[] = {{"/proc", PROC_SUPER_MAGIC, "proc"},
                                             {"/sys", SYSFS_MAGIC, "sysfs"},
                                             {"/sys/fs/cgroup", CGROUP2_SUPER_MAGIC, "cgroup"},
                                             // Where the hierarchies of version 1 are mounted.
                                             {"/sys/fs/cgroup", TMPFS_MAGIC, "cgroup"}};

constexpr ino_t kRootInode = 1;  // of all

const KernelFilesystem* bound_whole(const oci::Mount& mount) {
  struct statfs info;
  struct stat root;
  if (!mount.bind || ::statfs(mount.source.c_str(), &info) < 0 || ::stat(mount.source.c_str(), &root) < 0) {
    return nullptr;
  }
  // A tmpfs may be anybody's.
  if (info.f_type == TMPFS_MAGIC && mount.source != mount.destination) return nullptr;
  for (const auto& known : kFilesystems) {
    if (mount.destination == known.place && info.f_type == known.magic && root.st_ino == kRootInode) return &known;
  }
  return nullptr;
}

}  // namespace

void keep_kernel_filesystems_in_guest(oci::Config& config) {
  for (oci::Mount& mount : config.mounts) {
    const KernelFilesystem* known = bound_whole(mount);
    if (known == nullptr) continue;
    Json& json = config.json["mounts"][mount.index];
    json = {{"destination", mount.destination},
            {"type", known->type},
            {"source", known->type},
            {"options", unbound_options(json)}};
    mount.type = mount.source = known->type;
    mount.bind = false;
  }
}

}  // namespace nacre::runtime
