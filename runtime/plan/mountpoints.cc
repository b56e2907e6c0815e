#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/fd.h"
#include "base/rootfs.h"
#include "runtime/plan/translate.h"

namespace nacre::runtime {

namespace {

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> result;
  for (size_t start = 0; start < path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string part = path.substr(start, end - start);
    if (part == "..") {
      if (!result.empty()) result.pop_back();
    } else if (!part.empty() && part != ".") {
      result.push_back(part);
    }
    start = end + 1;
  }
  return result;
}

bool is_below(const std::vector<std::string>& path, const std::vector<std::string>& parent) {
  return path.size() > parent.size() && std::equal(parent.begin(), parent.end(), path.begin());
}

bool covers(const std::vector<std::vector<std::string>>& mounted, const std::vector<std::string>& path) {
  return std::ranges::any_of(mounted, [&](const auto& other) { return path == other || is_below(path, other); });
}

}  // namespace

void keep_tmpfs_modes(const oci::Config& config, nlohmann::json& guest) {
  if (!config.rootfs_readonly) return;
  auto root = open_file(config.rootfs, O_PATH | O_DIRECTORY);
  if (!root) return;  // an error of make_mountpoints()
  std::vector<std::vector<std::string>> mounted;
  for (const oci::Mount& mount : config.mounts) {
    std::vector<std::string> path = components(mount.destination);
    nlohmann::json& json = guest["mounts"][mount.index];
    if (json.value("type", "") == "tmpfs" && !covers(mounted, path) &&
        !open_in_root(root->get(), mount.destination, O_PATH)) {
      // Before the caller's own options, which may have another one.
      nlohmann::json options = {"mode=1777"};
      for (const auto& option : json.value("options", nlohmann::json::array())) options.push_back(option);
      json["options"] = std::move(options);
    }
    mounted.push_back(std::move(path));
  }
}

Result<void> make_mountpoints(const oci::Config& config) {
  if (!config.rootfs_readonly) return {};
  Rootfs root(TRY(open_file(config.rootfs, O_PATH | O_DIRECTORY)));
  std::vector<std::vector<std::string>> mounted;
  for (const oci::Mount& mount : config.mounts) {
    std::vector<std::string> path = components(mount.destination);
    // Below another mount it is that mount's file system that counts, not the root's.
    if (!covers(mounted, path)) {
      bool is_file = false;
      if (mount.bind) {
        struct stat info;
        is_file = ::stat(mount.source.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
      }
      std::string name = "mounts[" + std::to_string(mount.index) + "].destination";
      TRY_CONTEXT(is_file ? root.make_file(mount.destination) : root.make_directory(mount.destination), name);
    }
    mounted.push_back(std::move(path));
  }
  std::string cwd = config.json["process"]["cwd"];
  if (covers(mounted, components(cwd))) return {};
  TRY(root.make_directory(cwd));
  return {};
}

}  // namespace nacre::runtime
