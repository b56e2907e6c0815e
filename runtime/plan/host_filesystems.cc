// SPDX-License-Identifier: Apache-2.0
#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "oci/mount_options.h"
#include "runtime/plan/mounts.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// File systems of a kernel itself: the guest's kernel makes them. All others show what lies on the host: files, a disk,
// a server.
constexpr std::array<std::string_view, 18> kOfTheGuest = {
    "proc",       "sysfs",   "tmpfs",   "ramfs", "devtmpfs",  "devpts",   "mqueue",      "cgroup", "cgroup2",
    "securityfs", "debugfs", "tracefs", "bpf",   "hugetlbfs", "configfs", "binfmt_misc", "pstore", "fusectl"};

struct Flag {
  std::string_view name;
  unsigned long flag;
};
constexpr std::array kFlags = {Flag{"sync", MS_SYNCHRONOUS}, Flag{"dirsync", MS_DIRSYNC}, Flag{"mand", MS_MANDLOCK},
                               Flag{"lazytime", MS_LAZYTIME}};

template <typename List>
bool knows(const List& list, std::string_view name) {
  return std::ranges::any_of(list, [&](const auto& entry) {
    return entry.name == name || (name.starts_with('r') && entry.name == name.substr(1));
  });
}

// Returns true for an option of the mount itself, and false for one of the file system.
bool is_of_the_mount(std::string_view option) {
  return knows(oci::kMountAttributes, option) || knows(oci::kMountPropagations, option) ||
         std::ranges::find(oci::kMappingOptions, option) != oci::kMappingOptions.end();
}

}  // namespace

std::optional<MountedByHost> to_host_filesystem(const oci::Mount& mount, const std::string& directory) {
  if (mount.bind || mount.type.empty() || std::ranges::find(kOfTheGuest, mount.type) != kOfTheGuest.end()) {
    return std::nullopt;
  }
  HostFilesystem filesystem{.name = mount.name,
                            .type = mount.type,
                            .source = mount.source,
                            .data = "",
                            .flags = 0,
                            .place = directory + "/" + mount.share_path};
  if (mount.readonly) filesystem.flags |= MS_RDONLY;
  Json options = {"bind"};
  for (const Json& word : mount.json.value("options", Json::array())) {
    const auto& option = word.get_ref<const std::string&>();
    if (is_of_the_mount(option)) {
      options.push_back(option);
    } else if (auto flag = std::ranges::find(kFlags, option, &Flag::name); flag != kFlags.end()) {
      filesystem.flags |= flag->flag;
    } else if (std::ranges::find(oci::kVoidMountOptions, option) == oci::kVoidMountOptions.end()) {
      filesystem.data += (filesystem.data.empty() ? "" : ",") + option;
    }
  }
  oci::Mount bound = mount;
  bound.type = "bind";
  bound.bind = true;
  bound.source = filesystem.place;
  bound.json["type"] = "bind";
  bound.json["options"] = std::move(options);
  return MountedByHost{.mount = std::move(bound), .filesystem = std::move(filesystem)};
}

}  // namespace nacre::runtime
