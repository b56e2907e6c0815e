// SPDX-License-Identifier: Apache-2.0
// The files of a VM, in the directory of its container. If containers share the VM, the directory of each has all of
// the files, as hard links. So every command finds them in its own container's directory, whichever of the containers
// is deleted first, and the number of links tells whether there are others.
#pragma once

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Links the files of `other`'s VM into `dir`. ENOENT if the VM is gone.
Result<void> link_vm_files(const ContainerDir& other, const ContainerDir& dir);

// Return true if the container has a VM, and if other containers have it too.
bool has_vm(const ContainerDir& dir);
bool vm_is_shared(const ContainerDir& dir);

// Makes the container one that has no VM. The update lock must be held, so that of several containers that leave one
// knows that it is the last.
void leave_vm_files(const ContainerDir& dir);

}  // namespace nacre::runtime
