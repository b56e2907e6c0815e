// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/image.h"

#include <elf.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "vmm/boot/file_copy.h"

namespace nacre::vmm {

namespace {

constexpr size_t kMaxProgramHeaders = 64;
constexpr size_t kMaxSections = 256;

}  // namespace

Result<void> check_fits(const GuestMemory& memory, uint64_t start, uint64_t size) {
  if (!memory.slice(GuestAddress{start}, size)) {
    return fail("it needs memory from " + std::to_string(start >> 20) + " MiB to " +
                std::to_string((start + size) >> 20) + " MiB, more than the guest has");
  }
  return {};
}

Result<KernelImage> load_elf(const GuestMemory& memory, const Fd& file, uint64_t file_size, uint16_t machine) {
  Elf64_Ehdr header;
  TRY(read_at(file, 0, std::as_writable_bytes(std::span(&header, 1))));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine ||
      (header.e_type != ET_EXEC && header.e_type != ET_DYN)) {
    return fail("an ELF file, but not a kernel for this processor");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxProgramHeaders) {
    return fail("an ELF file with bad program headers");
  }
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  TRY(read_at(file, header.e_phoff, std::as_writable_bytes(std::span(segments))));

  KernelImage image;
  bool entry_inside = false;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
    if (segment.p_filesz > segment.p_memsz || segment.p_filesz > file_size ||
        segment.p_offset > file_size - segment.p_filesz || segment.p_paddr > UINT64_MAX - segment.p_memsz) {
      return fail("an ELF file with a bad segment");
    }
    TRY(check_fits(memory, segment.p_paddr, segment.p_memsz));
    TRY(copy_file(memory, GuestAddress{segment.p_paddr}, file, segment.p_offset, segment.p_filesz));
    image.end = std::max(image.end, GuestAddress{segment.p_paddr + segment.p_memsz});
    entry_inside |= header.e_entry >= segment.p_paddr && header.e_entry - segment.p_paddr < segment.p_filesz;
  }
  if (!entry_inside) return fail("an ELF file whose entry point is in none of its segments");
  image.entry = GuestAddress{header.e_entry};
  return image;
}

Result<Initramfs> load_initramfs(const GuestMemory& memory, const Fd& file, const std::string& name,
                                 GuestAddress kernel_end, uint64_t limit) {
  Initramfs initramfs;
  initramfs.size = TRY_CONTEXT(regular_file_size(file), "initrd " + name);
  const auto& low = memory.regions().front();
  uint64_t top = std::min<uint64_t>(low.start.value + low.mapping.size(), limit + 1);
  uint64_t floor = (kernel_end.value + kPageSize - 1) / kPageSize * kPageSize;
  if (initramfs.size > top || (top - initramfs.size) / kPageSize * kPageSize < floor) {
    return fail("initrd " + name + ": it does not fit into the guest's memory above the kernel");
  }
  initramfs.start = GuestAddress{(top - initramfs.size) / kPageSize * kPageSize};
  TRY_CONTEXT(copy_file(memory, initramfs.start, file, 0, initramfs.size), "initrd " + name);
  return initramfs;
}

}  // namespace nacre::vmm
