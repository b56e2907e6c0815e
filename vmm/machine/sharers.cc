#include "vmm/machine/sharers.h"

#include <fcntl.h>
#include <sys/prctl.h>

namespace nacre::vmm {

void Sharers::hold(CallerId caller) {
  // From now on it takes more than the end of the process that started us.
  if (holders_.empty()) ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  holders_.try_emplace(caller);
}

Result<void> Sharers::share(CallerId caller, const Share& request, Fd root) {
  auto holder = holders_.find(caller);
  if (holder == holders_.end()) return fail("share: the caller has to hold the machine", EPERM);
  auto device = devices_.find(request.tag);
  if (device == devices_.end()) return fail("share: no share has the tag " + request.tag, ENOENT);
  int flags = root ? ::fcntl(root.get(), F_GETFL) : -1;
  if (flags < 0 || (flags & O_PATH) == 0) return fail("share: no O_PATH descriptor came with it", EINVAL);
  TRY_CONTEXT(device->second->add_tree(request.name, std::move(root)), "share");
  holder->second.push_back({device->second, request.name});
  return {};
}

void Sharers::leave(CallerId caller) {
  auto holder = holders_.find(caller);
  if (holder == holders_.end()) return;
  for (const Tree& tree : holder->second) tree.device->remove_tree(tree.name);
  holders_.erase(holder);
}

}  // namespace nacre::vmm
