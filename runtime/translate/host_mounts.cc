#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/mountinfo.h"
#include "runtime/translate/translate.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// The mount that one finds at a path; 0 where there is nothing.
uint64_t mount_at(const std::string& path) {
  struct statx info;
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &info) < 0) return 0;
  return info.stx_mask & STATX_MNT_ID ? info.stx_mnt_id : 0;
}

Json describe(const MountInfo& mount, const std::string& target) {
  return {{"path", target}, {"options", attribute_words(mount)}};
}

}  // namespace

Json attribute_words(const MountInfo& mount) {
  std::vector<std::string> options = mount.options;
  auto has = [&](const char* option) { return std::ranges::find(options, option) != options.end(); };
  if (!has("relatime") && !has("noatime")) options.push_back("strictatime");
  return options;
}

Result<Json> to_host_mounts(const vmm::Config& vm) {
  std::vector<MountInfo> mounts = TRY(read_mountinfo());
  Json list = Json::array();
  for (const vmm::FsMount& served : vm.fs.at(0).mounts) {
    uint64_t top = mount_at(served.source);
    for (const MountInfo& mount : mounts) {
      if (mount.id == top) list.push_back(describe(mount, served.target));
    }
    if (!served.recursive) continue;
    std::string prefix = served.source == "/" ? "/" : served.source + "/";
    std::vector<const MountInfo*> below;
    for (const MountInfo& mount : mounts) {
      // Not those that another mount hides.
      if (mount.point.starts_with(prefix) && mount.point != "/" && mount.id != top &&
          mount_at(mount.point) == mount.id) {
        below.push_back(&mount);
      }
    }
    std::ranges::sort(below, {}, [](const MountInfo* mount) { return mount->point; });
    for (const MountInfo* mount : below) {
      list.push_back(describe(*mount, served.target + "/" + mount->point.substr(prefix.size())));
    }
  }
  return list;
}

}  // namespace nacre::runtime
