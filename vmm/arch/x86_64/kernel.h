// SPDX-License-Identifier: Apache-2.0
// The kernel formats of x86: ELF and bzImage (Documentation/arch/x86/boot.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"
#include "vmm/boot/image.h"

namespace nacre::vmm::x86_64 {

// A loaded kernel. Its entry point is the 64-bit one (boot.rst, 1.15).
struct LinuxKernel : KernelImage {
  std::vector<std::byte> setup_header = {};  // of a bzImage, from offset 0x1f1; empty for an ELF file
  uint64_t initrd_limit = UINT32_MAX;        // highest address that an initramfs may occupy
};

// Loads an ELF vmlinux or a bzImage, told apart by content. The file is hostile; `name` stands in errors.
Result<LinuxKernel> load_kernel(const GuestMemory& memory, const Fd& file, const std::string& name);

}  // namespace nacre::vmm::x86_64
