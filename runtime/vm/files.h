// The files of a VM, in the directory of its container; of a VM that several containers share each directory has all
// of them, as hard links. So every command finds them in its own container's, whichever of the containers is still
// there, and their number of links says whether others are.
#pragma once

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Gives the VM of `other` to `dir` too. ENOENT where there is none any more.
Result<void> link_vm_files(const ContainerDir& other, const ContainerDir& dir);

// Whether other containers have the VM too.
bool vm_is_shared(const ContainerDir& dir);

}  // namespace nacre::runtime
