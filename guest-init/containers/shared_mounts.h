// SPDX-License-Identifier: Apache-2.0
// File systems in memory that several containers of the machine see, for example as their common /dev/shm.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

// One such file system. It is mounted aside for as long as this object lives.
class SharedMount {
 public:
  // Makes the file system, and `directory` for it.
  static Result<std::shared_ptr<SharedMount>> make(const std::string& directory, const MountSpec& mount);
  ~SharedMount();

  // Makes another, detached, mount of the file system.
  Result<Fd> copy() const;

 private:
  explicit SharedMount(std::string directory) : directory_(std::move(directory)) {}
  std::string directory_;
};

class SharedMounts {
 public:
  explicit SharedMounts(std::string directory) : directory_(std::move(directory)) {}

  // Returns the file system that is known by the key, or makes a new one as `mount` says.
  Result<std::shared_ptr<SharedMount>> find_or_make(const std::string& key, const MountSpec& mount);

 private:
  const std::string directory_;
  unsigned count_ = 0;
  std::map<std::string, std::weak_ptr<SharedMount>> mounts_;
};

}  // namespace nacre::guest
