#include "runtime/cgroup/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <ranges>
#include <string_view>

#include "base/fd.h"
#include "base/log.h"

namespace nacre::runtime {

namespace {

constexpr const char* kMountPoint = "/sys/fs/cgroup";
constexpr int kRemoveAttempts = 50;
constexpr useconds_t kRemovePauseUs = 2'000;

bool has_version_2() {
  struct statfs info;
  return ::statfs(kMountPoint, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

void put_into(const std::string& directory) {
  auto file = open_file(directory + "/cgroup.procs", O_WRONLY);
  Result<void> written = file ? write_all(file->get(), "0") : std::unexpected(file.error());
  if (!written) log_debug("cgroup " + directory + " not entered: " + written.error().message());
}

}  // namespace

std::string make_cgroup(const std::string& cgroups_path) {
  if (cgroups_path.empty()) return "";
  if (!has_version_2()) {
    log_debug("no cgroup for the container: the host has no cgroup version 2 at /sys/fs/cgroup");
    return "";
  }
  // "slice:prefix:name" is systemd's.
  if (cgroups_path.contains(':')) {
    log_debug("no cgroup for the container: systemd's form of linux.cgroupsPath is not supported by this version");
    return "";
  }
  std::string directory = kMountPoint;
  for (auto part : std::views::split(cgroups_path, '/')) {
    std::string_view name(part.begin(), part.end());
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      log_debug("no cgroup for the container: \"..\" in linux.cgroupsPath");
      return "";
    }
    directory += "/" + std::string(name);
    if (::mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) {
      log_debug("no cgroup for the container: " + Error::from_errno(directory, errno).message());
      return "";
    }
  }
  return directory == kMountPoint ? "" : directory;
}

void enter_cgroup(const std::string& directory) {
  put_into(directory);
}

void remove_cgroup(const std::string& directory) {
  if (directory.empty()) return;
  // A process leaves its cgroup a moment after its end can be seen.
  for (int attempt = 0; attempt < kRemoveAttempts; attempt++) {
    if (::rmdir(directory.c_str()) == 0 || errno != EBUSY) return;
    ::usleep(kRemovePauseUs);
  }
  log_warn("cgroup " + directory + " is busy and stays");
}

void leave_and_remove_cgroup(const std::string& directory) {
  put_into(kMountPoint);
  remove_cgroup(directory);
}

}  // namespace nacre::runtime
