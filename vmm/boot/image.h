// Puts a kernel image and an initramfs into guest memory.
//
// Files are mapped copy-on-write over guest RAM wherever page offsets allow it: pages that the guest never touches are
// never read, and what it only reads is shared with the page cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"

namespace nacre::vmm {

struct KernelImage {
  GuestAddress entry;                   // 64-bit entry point (Documentation/arch/x86/boot.rst, 1.15)
  GuestAddress end;                     // first address past the image and its bss
  std::vector<std::byte> setup_header;  // of a bzImage, from offset 0x1f1; empty for an ELF file
  uint64_t initrd_limit = UINT32_MAX;   // highest address that an initramfs may occupy
};

// An ELF vmlinux or a bzImage, told apart by content. `name` stands in errors.
Result<KernelImage> load_kernel(const GuestMemory& memory, const Fd& file, const std::string& name);

struct Initramfs {
  GuestAddress start;
  uint64_t size = 0;
};

// As high below `limit` as it fits, above `kernel_end`.
Result<Initramfs> load_initramfs(const GuestMemory& memory, const Fd& file, const std::string& name,
                                 GuestAddress kernel_end, uint64_t limit);

}  // namespace nacre::vmm
