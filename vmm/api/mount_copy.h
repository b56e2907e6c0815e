// SPDX-License-Identifier: Apache-2.0
// Copies of the host's mounts, for shares: those of vmm's own jail, and those that are added later (vmm/api/control.h).
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

// Copies what is mounted at mount.source, or, if `source` is a descriptor, what that stands for. The copy is attached
// nowhere, nosuid, nodev, noexec and nosymfollow, as read-only as `mount` says, and does not follow what the host
// mounts later. Needs CAP_SYS_ADMIN over the caller's mount namespace, in which a descriptor must have been opened.
Result<Fd> copy_mount(const FsMount& mount, int source = -1);

}  // namespace nacre::vmm
