// SPDX-License-Identifier: Apache-2.0
// How far a machine can be resized.
#pragma once

#include "base/result.h"
#include "vmm/api/control.h"
#include "vmm/machine/memory.h"

namespace nacre::vmm {

// Checks that a machine with so much memory and so many CPUs at most can have what is asked for. An error changes
// nothing and says what the machine can have.
Result<void> check_resize(const Resize& request, const MemorySize& memory, unsigned max_cpus);

}  // namespace nacre::vmm
