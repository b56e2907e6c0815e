// SPDX-License-Identifier: Apache-2.0
// A node for a device that a container's first process may not make itself, because it is in a user namespace, or on a
// shared directory whose server has no right to make nodes. guest-init makes the node aside, and the process mounts it.
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
  // Makes the node. Its owner is the device's, translated to the ids outside of the container.
  static Result<DeviceNode> make(const DeviceSpec& device, const IdMappings& ids);
  DeviceNode(DeviceNode&& other) noexcept : path_(std::exchange(other.path_, "")), tree_(std::move(other.tree_)) {}
  ~DeviceNode();

  // Returns a detached mount of the node. It can be attached for as long as this object exists, and then stays.
  int tree() const { return tree_.get(); }

 private:
  explicit DeviceNode(std::string path) : path_(std::move(path)) {}

  std::string path_;
  Fd tree_;
};

}  // namespace nacre::guest
