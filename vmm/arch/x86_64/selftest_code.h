// SPDX-License-Identifier: Apache-2.0
// The tiny guest of `vmm check`: position-independent 64-bit code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nacre::vmm::x86_64 {

// The guest writes the number of each step to this port just before the step, and arch::kSelftestDone after the last.
inline constexpr uint16_t kSelftestPort = 0x500;

inline constexpr std::array<const char*, 9> kSelftestSteps = {
    "the first instruction", "cpuid", "cmpxchg16b", "fxsave and fxrstor", "xsave and xrstor", "int3", "swapgs",
    "invlpg and mov to cr3", "rdtsc",
};

std::span<const std::byte> selftest_code();

}  // namespace nacre::vmm::x86_64
