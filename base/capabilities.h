// SPDX-License-Identifier: Apache-2.0
// Capabilities of the calling thread (capabilities(7)).
#pragma once

#include <cstdint>

#include "base/result.h"

namespace nacre {

// Returns a set that has one CAP_* alone.
constexpr uint64_t capability_bit(int capability) {
  return 1ull << capability;
}

// Keeps these of the thread's permitted and effective capabilities. Nothing is inheritable afterwards.
Result<void> set_capabilities(uint64_t bits);

}  // namespace nacre
