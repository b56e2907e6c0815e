// SPDX-License-Identifier: Apache-2.0
// Puts a kernel image and an initramfs into guest memory. Formats that one architecture has are in its folder
// (vmm/arch/x86_64/kernel.h).
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"

namespace nacre::vmm {

struct KernelImage {
  GuestAddress entry;
  GuestAddress end;  // first address past the image and its bss
};

// Loads the segments of an ELF file of `file_size` bytes for the processor `machine` (elf.h, EM_*). The file is
// hostile.
Result<KernelImage> load_elf(const GuestMemory& memory, const Fd& file, uint64_t file_size, uint16_t machine);

// Checks that the guest has the memory that a kernel wants. Memory that is not there is the commonest mistake, so the
// error says what the kernel needs.
Result<void> check_fits(const GuestMemory& memory, uint64_t start, uint64_t size);

struct Initramfs {
  GuestAddress start;
  uint64_t size = 0;
};

// Loads the initramfs as high as it fits: in the first region of memory, its last byte at `limit` at most, above
// `kernel_end`. `name` stands in errors.
Result<Initramfs> load_initramfs(const GuestMemory& memory, const Fd& file, const std::string& name,
                                 GuestAddress kernel_end, uint64_t limit);

}  // namespace nacre::vmm
