// Who else uses the machine, beside the process that started vmm: callers of the control socket that hold it, and the
// trees of the host that they have brought (vmm/api/control.h, Hold and Share).
#pragma once

#include <map>
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
  // Shares that trees can come to. The device outlives this.
  void add_device(const std::string& tag, virtio::FsDevice& device) { devices_[tag] = &device; }

  void hold(CallerId caller);
  Result<void> share(CallerId caller, const Share& request, Fd root);
  void leave(CallerId caller);

  // Whether anybody holds the machine.
  bool any() const { return !holders_.empty(); }

 private:
  struct Tree {
    virtio::FsDevice* device;
    std::string name;
  };
  std::map<std::string, virtio::FsDevice*> devices_;
  std::map<CallerId, std::vector<Tree>> holders_;
};

}  // namespace nacre::vmm
