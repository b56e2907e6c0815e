// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/resize.h"

#include <fmt/core.h>

namespace nacre::vmm {

Result<void> check_resize(const Resize& request, const MemorySize& memory, unsigned max_cpus) {
  if (request.cpus && (*request.cpus < 1 || *request.cpus > max_cpus)) {
    return fail(fmt::format("cpus: {} asked, the machine can have 1 to {}", *request.cpus, max_cpus), EINVAL);
  }
  if (request.memory && (*request.memory < memory.boot || *request.memory > memory.max)) {
    return fail(
        fmt::format("memory: {} bytes asked, the machine can have {} to {}", *request.memory, memory.boot, memory.max),
        EINVAL);
  }
  if (request.memory && *request.memory % kHotplugBlock != 0) return fail("memory: not a multiple of 2 MiB", EINVAL);
  return {};
}

}  // namespace nacre::vmm
