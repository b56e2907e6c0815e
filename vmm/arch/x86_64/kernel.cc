// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/kernel.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "vmm/arch/x86_64/setup_header.h"
#include "vmm/boot/file_copy.h"

namespace nacre::vmm::x86_64 {

namespace {

// Fields of the setup header in a bzImage (Documentation/arch/x86/boot.rst, 1.4), by offset in the file.
constexpr uint64_t kSetupSects = 0x1f1;
constexpr uint64_t kInitrdAddrMax = 0x22c;
constexpr uint64_t kXLoadFlags = 0x236;
constexpr uint64_t kPrefAddress = 0x258;
constexpr uint64_t kInitSize = 0x260;
constexpr size_t kHeaderArea = 0x290;               // past the last field that we read
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

Result<LinuxKernel> load_bzimage(const GuestMemory& memory, const Fd& file, uint64_t file_size,
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

  LinuxKernel image;
  uint64_t start = field<uint64_t>(head, kPrefAddress);
  uint64_t init_size = field<uint32_t>(head, kInitSize);
  uint64_t size = std::max(init_size, file_size - offset);
  if (start > UINT64_MAX - size) return fail("a bzImage with a bad load address");
  TRY(check_fits(memory, start, size));
  TRY(copy_file(memory, GuestAddress{start}, file, offset, file_size - offset));
  image.entry = GuestAddress{start + kEntry64};
  image.end = GuestAddress{start + size};
  image.initrd_limit = field<uint32_t>(head, kInitrdAddrMax);
  // The header's length: "offset 0x202 + byte value at offset 0x201".
  size_t header_end = std::min<size_t>(kHeaderMagic + field<uint8_t>(head, kHeaderMagic - 1), head.size());
  image.setup_header.assign(head.begin() + kSetupSects, head.begin() + static_cast<ptrdiff_t>(header_end));
  return image;
}

Result<LinuxKernel> load_by_content(const GuestMemory& memory, const Fd& file) {
  uint64_t size = TRY(regular_file_size(file));
  std::array<std::byte, kHeaderArea> head{};
  TRY(read_at(file, 0, std::span(head).first(std::min<uint64_t>(size, head.size()))));
  if (std::memcmp(head.data(), ELFMAG, SELFMAG) == 0) return LinuxKernel{TRY(load_elf(memory, file, size, EM_X86_64))};
  if (field<uint32_t>(head, kHeaderMagic) == kHdrS) return load_bzimage(memory, file, size, head);
  return fail("neither an ELF kernel nor a bzImage");
}

}  // namespace

Result<LinuxKernel> load_kernel(const GuestMemory& memory, const Fd& file, const std::string& name) {
  return TRY_CONTEXT(load_by_content(memory, file), "kernel " + name);
}

}  // namespace nacre::vmm::x86_64
