// How a tree of the host becomes part of a share: for vmm's own jail, and for what joins a share later
// (vmm/api/control.h).
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

// A copy of what is mounted at mount.source, attached nowhere: nosuid, nodev, as read-only as `mount` says, and deaf to
// what the host mounts later. Needs CAP_SYS_ADMIN over our mount namespace.
Result<Fd> copy_mount(const FsMount& mount);

}  // namespace nacre::vmm
