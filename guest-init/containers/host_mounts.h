// The share is one file system, and on the host it may be many, with a mount for each. Their mounts are made again, so
// that "bind" and "rbind", "ro" and "rro" mean what they mean there.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/field.h"

namespace nacre::guest {

using protocol::Field;
using protocol::Json;

struct HostMount {
  std::string path;         // in the share
  std::string source = {};  // what is mounted there, in the share too; empty: what is there
  uint64_t attributes = 0;  // MOUNT_ATTR_*
};

// "hostMounts" of a create request.
Result<std::vector<HostMount>> parse_host_mounts(const Field& list);
// An entry of it, or a mount request.
Result<HostMount> parse_host_mount(const Field& entry);

// In our own mount namespace, from where they come to the containers' that follow it. May block.
Result<void> attach_host_mount(const std::string& share, const HostMount& mount);
Result<void> detach_host_mount(const std::string& share, const std::string& path);

// Those of a container: made before its mount namespace is, and gone with this.
class HostMounts {
 public:
  static Result<HostMounts> make(const std::string& share, const std::vector<HostMount>& mounts);
  HostMounts() = default;
  HostMounts(HostMounts&& other) noexcept : share_(std::move(other.share_)), paths_(std::exchange(other.paths_, {})) {}
  HostMounts& operator=(HostMounts&& other) noexcept {
    std::swap(share_, other.share_);
    std::swap(paths_, other.paths_);
    return *this;
  }
  ~HostMounts();

  // One that somebody else attaches, or has detached.
  void add(const std::string& path) { paths_.push_back(path); }
  void remove(const std::string& path);

 private:
  explicit HostMounts(std::string share) : share_(std::move(share)) {}
  std::string share_;
  std::vector<std::string> paths_;  // the upper before the lower
};

}  // namespace nacre::guest
