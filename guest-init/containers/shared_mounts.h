// File systems in memory that several containers of the machine see: what is /dev/shm to a group of containers.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

// Mounted aside for as long as somebody has it.
class SharedMount {
 public:
  // `directory` is made.
  static Result<std::shared_ptr<SharedMount>> make(const std::string& directory, const MountSpec& mount);
  ~SharedMount();

  // Another, detached, mount of it.
  Result<Fd> copy() const;

 private:
  explicit SharedMount(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

class SharedMounts {
 public:
  explicit SharedMounts(std::string directory) : directory_(std::move(directory)) {}

  // The one that is known by that key, or a new one that is made as `mount` says.
  Result<std::shared_ptr<SharedMount>> find_or_make(const std::string& key, const MountSpec& mount);

 private:
  const std::string directory_;
  unsigned count_ = 0;
  std::map<std::string, std::weak_ptr<SharedMount>> mounts_;
};

}  // namespace nacre::guest
