// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/sharers.h"

#include <fcntl.h>
#include <sys/prctl.h>

namespace nacre::vmm {

void Sharers::hold(CallerId caller) {
  // From now on vmm outlives the process that started it.
  if (holders_.empty()) ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  holders_.insert(caller);
}

Result<virtio::FsDevice*> Sharers::find_device(const std::string& tag) const {
  auto device = devices_.find(tag);
  if (device == devices_.end()) return fail("no share has the tag " + tag, ENOENT);
  return device->second;
}

Result<void> Sharers::share(CallerId caller, const Share& request, Fd root) {
  virtio::FsDevice* device = TRY_CONTEXT(find_device(request.tag), "share");
  int flags = root ? ::fcntl(root.get(), F_GETFL) : -1;
  if (flags < 0 || (flags & O_PATH) == 0) return fail("share: no O_PATH descriptor came with it", EINVAL);
  TRY_CONTEXT(device->add_tree(request.name, std::move(root)), "share");
  trees_[caller].push_back({device, request.name});
  return {};
}

Result<void> Sharers::unshare(CallerId caller, const Unshare& request) {
  virtio::FsDevice* device = TRY_CONTEXT(find_device(request.tag), "unshare");
  if (std::erase(trees_[caller], Tree{device, request.name}) == 0) {
    return fail("unshare: the caller has not shared " + request.name, ENOENT);
  }
  device->remove_tree(request.name);
  return {};
}

void Sharers::leave(CallerId caller) {
  if (auto trees = trees_.extract(caller)) {
    for (const Tree& tree : trees.mapped()) tree.device->remove_tree(tree.name);
  }
  holders_.erase(caller);
}

}  // namespace nacre::vmm
