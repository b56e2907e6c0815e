#include "vmm/boot/image.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "vmm/boot/file_map.h"

namespace nacre::vmm {

namespace {

constexpr size_t kMaxProgramHeaders = 64;

// Fields of the setup header in a bzImage (Documentation/arch/x86/boot.rst, 1.4), by offset in the file.
constexpr uint64_t kSetupSects = 0x1f1;
constexpr uint64_t kHeaderMagic = 0x202;  // "HdrS"
constexpr uint64_t kVersion = 0x206;
constexpr uint64_t kInitrdAddrMax = 0x22c;
constexpr uint64_t kXLoadFlags = 0x236;
constexpr uint64_t kPrefAddress = 0x258;
constexpr uint64_t kInitSize = 0x260;
constexpr size_t kHeaderArea = 0x290;  // past the last field that we read
constexpr uint32_t kHdrS = 0x53726448;
constexpr uint16_t kVersionWithXLoadFlags = 0x20c;  // 2.12
constexpr uint16_t kXlfKernel64 = 1;                // a 64-bit entry point at 0x200
constexpr uint64_t kEntry64 = 0x200;
constexpr uint64_t kSectorSize = 512;

template <typename T>
T field(std::span<const std::byte> bytes, uint64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

// Memory that a segment wants but that is not there is the commonest mistake: say what would be needed.
Result<void> check_fits(const GuestMemory& memory, uint64_t start, uint64_t size) {
  if (!memory.slice(GuestAddress{start}, size)) {
    return fail("it needs memory from " + std::to_string(start >> 20) + " MiB to " +
                std::to_string((start + size) >> 20) + " MiB, more than the guest has");
  }
  return {};
}

Result<KernelImage> load_elf(const GuestMemory& memory, const Fd& file, uint64_t file_size) {
  Elf64_Ehdr header;
  TRY(read_at(file, 0, std::as_writable_bytes(std::span(&header, 1))));
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
      (header.e_type != ET_EXEC && header.e_type != ET_DYN)) {
    return fail("an ELF file, but not an x86_64 kernel");
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
    TRY(place_file(memory, GuestAddress{segment.p_paddr}, file, segment.p_offset, segment.p_filesz));
    image.end = std::max(image.end, GuestAddress{segment.p_paddr + segment.p_memsz});
    entry_inside |= header.e_entry >= segment.p_paddr && header.e_entry - segment.p_paddr < segment.p_filesz;
  }
  if (!entry_inside) return fail("an ELF file whose entry point is in none of its segments");
  image.entry = GuestAddress{header.e_entry};
  return image;
}

Result<KernelImage> load_bzimage(const GuestMemory& memory, const Fd& file, uint64_t file_size,
                                 std::span<const std::byte> head) {
  if (field<uint16_t>(head, kVersion) < kVersionWithXLoadFlags ||
      (field<uint16_t>(head, kXLoadFlags) & kXlfKernel64) == 0) {
    return fail("a bzImage without a 64-bit entry point");
  }
  // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
  uint64_t setup_sectors = field<uint8_t>(head, kSetupSects);
  if (setup_sectors == 0) setup_sectors = 4;
  uint64_t offset = (setup_sectors + 1) * kSectorSize;
  if (offset >= file_size) return fail("a bzImage that is cut off");

  KernelImage image;
  uint64_t start = field<uint64_t>(head, kPrefAddress);
  uint64_t init_size = field<uint32_t>(head, kInitSize);
  uint64_t size = std::max(init_size, file_size - offset);
  if (start > UINT64_MAX - size) return fail("a bzImage with a bad load address");
  TRY(check_fits(memory, start, size));
  TRY(place_file(memory, GuestAddress{start}, file, offset, file_size - offset));
  image.entry = GuestAddress{start + kEntry64};
  image.end = GuestAddress{start + size};
  image.initrd_limit = field<uint32_t>(head, kInitrdAddrMax);
  // The header's length: "offset 0x202 + byte value at offset 0x201".
  size_t header_end = std::min<size_t>(kHeaderMagic + field<uint8_t>(head, kHeaderMagic - 1), head.size());
  image.setup_header.assign(head.begin() + kSetupSects, head.begin() + static_cast<ptrdiff_t>(header_end));
  return image;
}

Result<KernelImage> load_by_content(const GuestMemory& memory, const Fd& file) {
  uint64_t size = TRY(regular_file_size(file));
  std::array<std::byte, kHeaderArea> head{};
  TRY(read_at(file, 0, std::span(head).first(std::min<uint64_t>(size, head.size()))));
  if (std::memcmp(head.data(), ELFMAG, SELFMAG) == 0) return load_elf(memory, file, size);
  if (field<uint32_t>(head, kHeaderMagic) == kHdrS) return load_bzimage(memory, file, size, head);
  return fail("neither an ELF kernel nor a bzImage");
}

}  // namespace

Result<KernelImage> load_kernel(const GuestMemory& memory, const Fd& file, const std::string& name) {
  return TRY_CONTEXT(load_by_content(memory, file), "kernel " + name);
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
  TRY_CONTEXT(place_file(memory, initramfs.start, file, 0, initramfs.size), "initrd " + name);
  return initramfs;
}

}  // namespace nacre::vmm
