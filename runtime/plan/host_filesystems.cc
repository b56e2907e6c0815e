#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "oci/mount_options.h"
#include "runtime/plan/translate.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// File systems of a kernel itself, which are the guest's. What all others show lies on the host: files, a disk, a
// server.
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

// A word about the mount, and not about what is mounted.
bool is_of_the_mount(std::string_view option) {
  return knows(oci::kMountAttributes, option) || knows(oci::kMountPropagations, option) ||
         std::ranges::find(oci::kMappingOptions, option) != oci::kMappingOptions.end();
}

}  // namespace

std::vector<HostFilesystem> keep_filesystems_on_host(oci::Config& config, const std::string& directory) {
  std::vector<HostFilesystem> filesystems;
  for (oci::Mount& mount : config.mounts) {
    if (mount.bind || mount.type.empty() || std::ranges::find(kOfTheGuest, mount.type) != kOfTheGuest.end()) continue;
    Json& json = config.json["mounts"][mount.index];
    HostFilesystem made{.name = "mounts[" + std::to_string(mount.index) + "]",
                        .type = mount.type,
                        .source = mount.source,
                        .data = "",
                        .flags = 0,
                        .place = directory + "/mount-" + std::to_string(filesystems.size())};
    if (mount.readonly) made.flags |= MS_RDONLY;
    Json options = {"bind"};
    for (const Json& word : json.value("options", Json::array())) {
      const auto& option = word.get_ref<const std::string&>();
      if (is_of_the_mount(option)) {
        options.push_back(option);
      } else if (auto flag = std::ranges::find(kFlags, option, &Flag::name); flag != kFlags.end()) {
        made.flags |= flag->flag;
      } else if (std::ranges::find(oci::kVoidMountOptions, option) == oci::kVoidMountOptions.end()) {
        made.data += (made.data.empty() ? "" : ",") + option;
      }
    }
    json["type"] = "bind";
    json["options"] = std::move(options);
    mount.type = "bind";
    mount.bind = true;
    mount.source = made.place;
    filesystems.push_back(std::move(made));
  }
  return filesystems;
}

}  // namespace nacre::runtime
