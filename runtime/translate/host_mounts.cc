#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/fd.h"
#include "runtime/translate/translate.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxMountInfo = 64 << 20;

// A line of /proc/self/mountinfo (proc(5)).
struct HostMount {
  uint64_t id;
  std::string point;
  std::vector<std::string> options;  // those of the mount, such as "rw", "nosuid"
};

// "\040" for a space, and the like.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

Result<std::vector<HostMount>> read_mounts() {
  std::istringstream lines(TRY(read_file("/proc/self/mountinfo", kMaxMountInfo)));
  std::vector<HostMount> mounts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    HostMount mount{};
    std::string skipped, point, options;
    words >> mount.id >> skipped >> skipped >> skipped >> point >> options;
    mount.point = unescape(point);
    std::istringstream list(options);
    for (std::string option; std::getline(list, option, ',');) mount.options.push_back(option);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

// The mount that one finds at a path; 0 where there is nothing.
uint64_t mount_at(const std::string& path) {
  struct statx info;
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &info) < 0) return 0;
  return info.stx_mask & STATX_MNT_ID ? info.stx_mnt_id : 0;
}

Json describe(const HostMount& mount, const std::string& target) {
  return {{"path", target}, {"options", mount.options}};
}

}  // namespace

Result<Json> to_host_mounts(const vmm::Config& vm) {
  std::vector<HostMount> mounts = TRY(read_mounts());
  Json list = Json::array();
  for (const vmm::FsMount& served : vm.fs.at(0).mounts) {
    uint64_t top = mount_at(served.source);
    for (const HostMount& mount : mounts) {
      if (mount.id == top) list.push_back(describe(mount, served.target));
    }
    if (!served.recursive) continue;
    std::string prefix = served.source == "/" ? "/" : served.source + "/";
    std::vector<const HostMount*> below;
    for (const HostMount& mount : mounts) {
      // Not those that another mount hides.
      if (mount.point.starts_with(prefix) && mount.point != "/" && mount.id != top &&
          mount_at(mount.point) == mount.id) {
        below.push_back(&mount);
      }
    }
    std::ranges::sort(below, {}, [](const HostMount* mount) { return mount->point; });
    for (const HostMount* mount : below) {
      list.push_back(describe(*mount, served.target + "/" + mount->point.substr(prefix.size())));
    }
  }
  return list;
}

}  // namespace nacre::runtime
