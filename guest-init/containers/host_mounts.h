// SPDX-License-Identifier: Apache-2.0
// Mounts of the host in the share. The share is one file system in the guest and may be many on the host. guest-init
// makes the host's mounts again, so that "bind" and "rbind", "ro" and "rro" mean what they mean on the host.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

struct HostMount {
  std::string path;         // in the share
  std::string source = {};  // what is mounted there, a path in the share too; empty: what is there already
  uint64_t attributes = 0;  // MOUNT_ATTR_*
};

HostMount parse_host_mount(const protocol::HostMount& mount);

// Attach and detach a mount in guest-init's own mount namespace. From there it comes to the mount namespaces of
// containers that follow. May block.
Result<void> attach_host_mount(const std::string& share, const HostMount& mount);
Result<void> detach_host_mount(const std::string& share, const std::string& path);

// The mounts of one container: made before its mount namespace, and detached with this object.
class HostMounts {
 public:
  static Result<HostMounts> make(const std::string& share, const std::vector<protocol::HostMount>& mounts);
  HostMounts() = default;
  HostMounts(HostMounts&& other) noexcept : share_(std::move(other.share_)), paths_(std::exchange(other.paths_, {})) {}
  HostMounts& operator=(HostMounts&& other) noexcept {
    std::swap(share_, other.share_);
    std::swap(paths_, other.paths_);
    return *this;
  }
  ~HostMounts();

  // Take note of a mount that somebody else attaches, or has detached.
  void add(const std::string& path) { paths_.push_back(path); }
  void remove(const std::string& path);

 private:
  explicit HostMounts(std::string share) : share_(std::move(share)) {}
  std::string share_;
  std::vector<std::string> paths_;  // the upper before the lower
};

}  // namespace nacre::guest
