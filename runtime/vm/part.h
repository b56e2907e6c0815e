// SPDX-License-Identifier: Apache-2.0
// How much memory a container has added to a VM that it shares. It is noted in the container's directory, to be taken
// away with the container.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

Result<void> keep_part(const ContainerDir& dir, uint64_t bytes);
// Returns 0 if the container has added nothing, like the one for which the VM was made.
uint64_t kept_part(const ContainerDir& dir);

}  // namespace nacre::runtime
