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
  uint64_t attributes = 0;  // MOUNT_ATTR_*
};

// "hostMounts" of a create request.
Result<std::vector<HostMount>> parse_host_mounts(const Field& list);

// In our own mount namespace, before that of the container is made, until this ends.
class HostMounts {
 public:
  static Result<HostMounts> make(const std::string& share, const std::vector<HostMount>& mounts);
  HostMounts() = default;
  HostMounts(HostMounts&& other) noexcept : paths_(std::exchange(other.paths_, {})) {}
  HostMounts& operator=(HostMounts&& other) noexcept {
    std::swap(paths_, other.paths_);
    return *this;
  }
  ~HostMounts();

 private:
  std::vector<std::string> paths_;
};

}  // namespace nacre::guest
