// SPDX-License-Identifier: Apache-2.0
#include <linux/magic.h>

#include <array>
#include <cstdio>
#include <functional>
#include <string>

#include "runtime/plan/mounts.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kSharedMemory = "/dev/shm";

Json tmpfs_options(const Json& mount, const SourceFacts& source) {
  Json options = unbound_options(mount);
  std::array<char, 8> mode;
  std::snprintf(mode.data(), mode.size(), "%o", source.mode);
  options.push_back("mode=" + std::string(mode.data()));
  options.push_back("uid=" + std::to_string(source.uid));
  options.push_back("gid=" + std::to_string(source.gid));
  options.push_back("size=" + std::to_string(source.filesystem_size));
  return options;
}

// Returns a name that all containers give to one tmpfs. It does not tell the guest the host's numbers.
std::string shared_memory_key(const SourceFacts& source, const std::string& secret) {
  std::string file = secret + ":" + std::to_string(source.device) + ":" + std::to_string(source.inode);
  return std::to_string(std::hash<std::string>()(file));
}

}  // namespace

Json unbound_options(const Json& mount) {
  constexpr std::array kKept = {"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec"};
  Json options = Json::array();
  for (const Json& option : mount.value("options", Json::array())) {
    for (const char* name : kKept) {
      if (option == name) options.push_back(option);
    }
  }
  return options;
}

std::optional<oci::Mount> to_guest_shared_memory(const oci::Mount& mount, const SourceFacts& source,
                                                 const std::string& secret) {
  // A caller that binds the host's own /dev/shm asks for that one (--ipc=host), and a tmpfs that is in use must not be
  // hidden.
  if (mount.destination != kSharedMemory || mount.source == kSharedMemory || source.filesystem != TMPFS_MAGIC ||
      source.filesystem_size == 0 || !source.is_mount_point || !source.is_empty) {
    return std::nullopt;
  }
  oci::Mount made = mount;
  made.type = "tmpfs";
  made.bind = false;
  made.source = "shm";
  made.shared_memory = shared_memory_key(source, secret);
  made.json = {{"destination", mount.destination},
               {"type", "tmpfs"},
               {"source", "shm"},
               {"options", tmpfs_options(mount.json, source)}};
  return made;
}

}  // namespace nacre::runtime
