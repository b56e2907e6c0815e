// SPDX-License-Identifier: Apache-2.0
// Keeps the callers of the control socket that use the machine beside the process that started vmm: those that hold it,
// and those that have brought trees of the host (vmm/api/control.h, Hold and Share).
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/fs/fs_device.h"
#include "vmm/api/control.h"
#include "vmm/control/server.h"

namespace nacre::vmm {

class Sharers {
 public:
  // Adds a share that trees can be added to. The device must outlive this.
  void add_device(const std::string& tag, virtio::FsDevice& device) { devices_[tag] = &device; }

  void hold(CallerId caller);
  Result<void> share(CallerId caller, const Share& request, Fd root);
  Result<void> unshare(CallerId caller, const Unshare& request);
  // Ends what the caller holds and takes away its trees.
  void leave(CallerId caller);

  // Returns true if anybody holds the machine.
  bool any() const { return !holders_.empty(); }

 private:
  struct Tree {
    virtio::FsDevice* device;
    std::string name;
    bool operator==(const Tree&) const = default;
  };
  Result<virtio::FsDevice*> find_device(const std::string& tag) const;
  std::map<std::string, virtio::FsDevice*> devices_;
  std::set<CallerId> holders_;
  std::map<CallerId, std::vector<Tree>> trees_;
};

}  // namespace nacre::vmm
