// How much memory a container has added to a VM that it shares: in its directory, to be taken away again.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::update {

Result<void> keep_part(const runtime::ContainerDir& dir, uint64_t bytes);
// 0 where it has added nothing, as the container has not for which the VM was made.
uint64_t kept_part(const runtime::ContainerDir& dir);

}  // namespace nacre::update
