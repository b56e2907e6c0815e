#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <memory>

#include "runtime/plan/translate.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kSharedMemory = "/dev/shm";

bool is_empty(const std::string& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (!open) return false;
  size_t entries = 0;
  while (::readdir(open.get()) != nullptr) entries++;
  return entries == 2;  // "." and ".."
}

bool is_mount_point(const std::string& directory) {
  struct stat here, above;
  return ::stat(directory.c_str(), &here) == 0 && ::stat((directory + "/..").c_str(), &above) == 0 &&
         here.st_dev != above.st_dev;
}

Json tmpfs_options(const Json& mount, const struct stat& directory, const struct statfs& info) {
  Json options = unbound_options(mount);
  std::array<char, 8> mode;
  std::snprintf(mode.data(), mode.size(), "%o", directory.st_mode & 07777);
  options.push_back("mode=" + std::string(mode.data()));
  options.push_back("uid=" + std::to_string(directory.st_uid));
  options.push_back("gid=" + std::to_string(directory.st_gid));
  options.push_back("size=" + std::to_string(info.f_blocks * static_cast<uint64_t>(info.f_bsize)));
  return options;
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

Json keep_shared_memory_in_guest(oci::Config& config) {
  Json shared = Json::object();
  for (oci::Mount& mount : config.mounts) {
    struct statfs info;
    struct stat directory;
    // The host's own is asked for by name (--ipc=host), and what is in use is not ours to hide.
    if (!mount.bind || mount.destination != kSharedMemory || mount.source == kSharedMemory ||
        ::statfs(mount.source.c_str(), &info) < 0 || info.f_type != TMPFS_MAGIC || info.f_blocks == 0 ||
        !is_mount_point(mount.source) || !is_empty(mount.source) || ::stat(mount.source.c_str(), &directory) < 0) {
      continue;
    }
    Json& json = config.json["mounts"][mount.index];
    json = {{"destination", mount.destination},
            {"type", "tmpfs"},
            {"source", "shm"},
            {"options", tmpfs_options(json, directory, info)}};
    mount.type = "tmpfs";
    mount.bind = false;
    mount.source = "shm";
    shared[std::to_string(mount.index)] = std::to_string(directory.st_dev) + ":" + std::to_string(directory.st_ino);
  }
  return shared;
}

}  // namespace nacre::runtime
