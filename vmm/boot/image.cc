// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/image.h"

#include <elf.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "vmm/boot/file_map.h"

namespace nacre::vmm {

namespace {

constexpr size_t kMaxProgramHeaders = 64;
constexpr size_t kMaxSections = 256;

// A piece of the file.
struct Piece {
  uint64_t start;
  uint64_t end;
};

// Returns the file's machine code, by its section headers, in ascending order and perhaps overlapping. A file without
// them has none that we know of: they are only a hint.
std::vector<Piece> find_code(const Fd& file, const Elf64_Ehdr& header) {
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum > kMaxSections) return {};
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  if (!read_at(file, header.e_shoff, std::as_writable_bytes(std::span(sections)))) return {};
  std::vector<Piece> code;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_PROGBITS || (section.sh_flags & SHF_EXECINSTR) == 0) continue;
    if (section.sh_offset > UINT64_MAX - section.sh_size) continue;
    code.push_back({section.sh_offset, section.sh_offset + section.sh_size});
  }
  std::ranges::sort(code, {}, &Piece::start);
  return code;
}

// Places a segment. Its code is copied: Linux patches nearly every page of it as it boots (alternatives, return thunks,
// static calls).
Result<void> place_segment(const GuestMemory& memory, const Fd& file, const Elf64_Phdr& segment,
                           const std::vector<Piece>& code) {
  uint64_t offset = segment.p_offset;
  auto take = [&](auto how, uint64_t until) -> Result<void> {
    uint64_t size = until - offset;
    GuestAddress to{segment.p_paddr + (offset - segment.p_offset)};
    TRY(how(memory, to, file, std::exchange(offset, until), size));
    return {};
  };
  uint64_t end = segment.p_offset + segment.p_filesz;
  for (const Piece& piece : code) {
    uint64_t code_start = std::clamp(piece.start, offset, end);
    uint64_t code_end = std::clamp(piece.end, code_start, end);
    TRY(take(place_file, code_start));
    TRY(take(copy_file, code_end));
  }
  return take(place_file, end);
}

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

  std::vector<Piece> code = find_code(file, header);
  KernelImage image;
  bool entry_inside = false;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
    if (segment.p_filesz > segment.p_memsz || segment.p_filesz > file_size ||
        segment.p_offset > file_size - segment.p_filesz || segment.p_paddr > UINT64_MAX - segment.p_memsz) {
      return fail("an ELF file with a bad segment");
    }
    TRY(check_fits(memory, segment.p_paddr, segment.p_memsz));
    TRY(place_segment(memory, file, segment, code));
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
  // Linux frees these pages when it has unpacked them.
  TRY_CONTEXT(copy_file(memory, initramfs.start, file, 0, initramfs.size), "initrd " + name);
  return initramfs;
}

}  // namespace nacre::vmm
