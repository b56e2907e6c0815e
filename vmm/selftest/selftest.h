// SPDX-License-Identifier: Apache-2.0
// `vmm check`: can this host's KVM run a Linux guest?
//
// Some hosts have a /dev/kvm that emulates most kernel-mode instructions and gives up on the rest. A guest kernel then
// dies at its first cmpxchg16b with an internal error. A tiny guest that executes what Linux will finds that out in
// milliseconds, and finds out which instruction it is.
#pragma once

#include "base/result.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm {

// An error says in one line what is missing. Takes a second at most. Uses SIGALRM and the process's real-time timer.
Result<void> check_kvm(Kvm& kvm);

}  // namespace nacre::vmm
