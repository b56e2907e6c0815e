// SPDX-License-Identifier: Apache-2.0
// Names the first fields of Linux's setup header. Their offsets are the same in a bzImage and in struct boot_params
// (Documentation/arch/x86/boot.rst, 1.4).
#pragma once

#include <cstddef>
#include <cstdint>

namespace nacre::vmm::x86_64 {

constexpr size_t kHeaderMagic = 0x202;  // u32
constexpr size_t kVersion = 0x206;      // u16
constexpr uint32_t kHdrS = 0x53726448;  // the magic, "HdrS"

}  // namespace nacre::vmm::x86_64
