// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/mountpoints.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/fd.h"
#include "base/rootfs.h"
#include "oci/default_devices.h"

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

bool has_dev_of_its_own(const HostPlan& plan) {
  return std::ranges::none_of(
      plan.mounts, [](const oci::Mount& mount) { return mount.bind && clean_path(mount.destination) == "/dev"; });
}

// Makes the links of /dev on a root filesystem that is read-only in the guest. As under runc, /dev/ptmx leads to the
// container's own devpts, whatever the image has there.
Result<void> make_device_links(const Rootfs& root) {
  Fd dev = TRY(root.make_directory("/dev"));
  if (::unlinkat(dev.get(), "ptmx", 0) < 0 && errno != ENOENT) return fail_errno("remove /dev/ptmx of the image");
  for (const oci::DefaultLink& link : oci::kDefaultLinks) {
    if (::symlinkat(link.target, dev.get(), link.name) < 0 && errno != EEXIST) {
      return fail_errno(std::string("link /dev/") + link.name);
    }
  }
  return {};
}

// Makes a file in place of each device that the guest cannot make on a read-only root filesystem. The guest mounts the
// device on it.
Result<void> make_device_files(const HostPlan& plan, const Rootfs& root,
                               const std::vector<std::vector<std::string>>& mounted) {
  if (!has_dev_of_its_own(plan)) return {};
  for (const std::string& device : plan.devices) {
    if (!covers(mounted, components(device))) TRY_CONTEXT(root.make_file(clean_path(device)), "device " + device);
  }
  if (!covers(mounted, components("/dev"))) TRY(make_device_links(root));
  return {};
}

}  // namespace

void give_tmpfs_modes(std::vector<oci::Mount>& mounts, const std::set<std::string>& missing) {
  std::vector<std::vector<std::string>> mounted;
  for (oci::Mount& mount : mounts) {
    std::vector<std::string> path = components(mount.destination);
    bool is_tmpfs = mount.json.value("type", "") == "tmpfs";
    if (is_tmpfs && missing.contains(mount.destination) && !covers(mounted, path)) {
      // Before the caller's own options, which may have another mode.
      nlohmann::json options = {"mode=1777"};
      for (const auto& option : mount.json.value("options", nlohmann::json::array())) options.push_back(option);
      mount.json["options"] = std::move(options);
    }
    mounted.push_back(std::move(path));
  }
}

Result<void> make_mountpoints(const HostPlan& plan) {
  if (!plan.rootfs_readonly) return {};
  Rootfs root(TRY(open_file(plan.rootfs, O_PATH | O_DIRECTORY)));
  std::vector<std::vector<std::string>> mounted;
  for (const oci::Mount& mount : plan.mounts) {
    std::vector<std::string> path = components(mount.destination);
    // Below another mount, that mount's file system counts, and not the root's.
    if (!covers(mounted, path)) {
      bool is_file = false;
      if (mount.bind) {
        struct stat info;
        is_file = ::stat(mount.source.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
      }
      TRY_CONTEXT(is_file ? root.make_file(mount.destination) : root.make_directory(mount.destination),
                  mount.name + ".destination");
    }
    mounted.push_back(std::move(path));
  }
  TRY(make_device_files(plan, root, mounted));
  if (covers(mounted, components(plan.cwd))) return {};
  TRY(root.make_directory(plan.cwd));
  return {};
}

}  // namespace nacre::runtime
