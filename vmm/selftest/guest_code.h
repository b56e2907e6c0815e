// The tiny guest of `vmm check`: position-independent 64-bit code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nacre::vmm {

// It writes the number of each step to this port just before it takes it, and kCheckDone after the last.
inline constexpr uint16_t kCheckPort = 0x500;
inline constexpr uint8_t kCheckDone = 0xff;

inline constexpr std::array<const char*, 9> kCheckSteps = {
    "the first instruction", "cpuid", "cmpxchg16b", "fxsave and fxrstor", "xsave and xrstor", "int3", "swapgs",
    "invlpg and mov to cr3", "rdtsc",
};

std::span<const std::byte> check_guest_code();

}  // namespace nacre::vmm
