// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/host_mounts.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

namespace nacre::runtime {

namespace {

protocol::HostMount describe(const MountInfo& mount, const std::string& target) {
  return {.path = target, .source = {}, .options = attribute_words(mount)};
}

}  // namespace

std::vector<std::string> attribute_words(const MountInfo& mount) {
  std::vector<std::string> options = mount.options;
  auto has = [&](const char* option) { return std::ranges::find(options, option) != options.end(); };
  if (!has("relatime") && !has("noatime")) options.push_back("strictatime");
  return options;
}

std::vector<MountInfo> mounts_below(const std::string& source, const std::vector<MountInfo>& mounts) {
  std::string prefix = source == "/" ? "/" : source + "/";
  uint64_t top = mount_at(AT_FDCWD, source);
  auto is_on_proc = [&](const MountInfo& mount) {
    return std::ranges::any_of(mounts, [&](const MountInfo& other) {
      return other.type == kProcType && (mount.point + "/").starts_with(other.point + "/");
    });
  };
  std::vector<MountInfo> below;
  for (const MountInfo& mount : mounts) {
    if (!mount.point.starts_with(prefix) || mount.point == "/" || mount.id == top || is_on_proc(mount)) continue;
    // Another mount may hide it.
    if (mount_at(AT_FDCWD, mount.point) == mount.id) below.push_back(mount);
  }
  std::ranges::sort(below, {}, &MountInfo::point);
  return below;
}

std::string path_in_share(const std::string& target, const std::string& source, const std::string& point) {
  return target + (source == "/" ? point : point.substr(source.size()));
}

Result<std::vector<protocol::HostMount>> to_host_mounts(const vmm::Fs& share, const Sources& sources) {
  std::vector<MountInfo> mounts = TRY(read_mountinfo());
  std::vector<protocol::HostMount> list;
  for (const vmm::FsMount& served : share.mounts) {
    uint64_t top = mount_at(sources.at(served.target), "");
    auto upper = std::ranges::find(mounts, top, &MountInfo::id);
    if (upper != mounts.end()) list.push_back(describe(*upper, served.target));
    if (!served.recursive) continue;
    for (const MountInfo& mount : mounts_below(served.source, mounts)) {
      list.push_back(describe(mount, path_in_share(served.target, served.source, mount.point)));
    }
  }
  return list;
}

}  // namespace nacre::runtime
