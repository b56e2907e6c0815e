// A node for a device that a container's first process may not make itself: in a user namespace, or on a shared
// directory whose server has not that right. guest-init makes it aside, and the process mounts it.
#pragma once

#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/kernel/id_mappings.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

class DeviceNode {
 public:
  // Owned by the device's ids as they are outside of the container.
  static Result<DeviceNode> make(const DeviceSpec& device, const IdMappings& ids);
  DeviceNode(DeviceNode&& other) noexcept : path_(std::exchange(other.path_, "")), tree_(std::move(other.tree_)) {}
  ~DeviceNode();

  // A detached mount of it. It can be attached as long as this exists, and stays then.
  int tree() const { return tree_.get(); }

 private:
  explicit DeviceNode(std::string path) : path_(std::move(path)) {}

  std::string path_;
  Fd tree_;
};

}  // namespace nacre::guest
