// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/boot.h"

#include <array>
#include <cstring>

#include "vmm/arch/x86_64/kvm_x86.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/setup_header.h"

namespace nacre::vmm::x86_64 {

namespace {

// struct boot_params by offset (zero-page.rst, boot.rst 1.4).
constexpr size_t kZeroPageSize = 4096;
constexpr size_t kAcpiRsdpAddress = 0x070;  // u64
constexpr size_t kE820Entries = 0x1e8;      // u8
constexpr size_t kSetupHeader = 0x1f1;
constexpr size_t kBootFlag = 0x1fe;            // u16
constexpr size_t kTypeOfLoader = 0x210;        // u8
constexpr size_t kLoadFlags = 0x211;           // u8
constexpr size_t kRamdiskImage = 0x218;        // u32
constexpr size_t kRamdiskSize = 0x21c;         // u32
constexpr size_t kCommandLinePointer = 0x228;  // u32
constexpr size_t kE820Table = 0x2d0;           // struct boot_e820_entry[128]

constexpr uint8_t kUnregisteredLoader = 0xff;
constexpr uint8_t kLoadedHigh = 1;
constexpr uint16_t kProtocolVersion = 0x20f;
constexpr uint16_t kBootFlagValue = 0xaa55;
constexpr uint32_t kE820Ram = 1;
constexpr uint32_t kE820Acpi = 3;

class ZeroPage {
 public:
  template <typename T>
  void put(size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof(value));
  }
  void put(size_t offset, std::span<const std::byte> data) {
    std::memcpy(bytes_.data() + offset, data.data(), std::min(data.size(), bytes_.size() - offset));
  }
  void add_e820(uint64_t start, uint64_t size, uint32_t type) {
    size_t offset = kE820Table + size_t{entries_} * 20;
    put(offset, start);
    put(offset + 8, size);
    put(offset + 16, type);
    put(kE820Entries, ++entries_);
  }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::array<std::byte, kZeroPageSize> bytes_{};
  uint8_t entries_ = 0;
};

void add_memory_map(ZeroPage& page, const GuestMemory& memory) {
  page.add_e820(0, kLowMemoryEnd.value, kE820Ram);
  page.add_e820(kAcpiTables.value, kAcpiTablesSize, kE820Acpi);
  for (const auto& region : memory.regions()) {
    if (region.plugged) continue;  // its device tells the guest about it
    uint64_t start = std::max(region.start.value, kHighMemory.value);
    page.add_e820(start, region.start.value + region.mapping.size() - start, kE820Ram);
  }
}

// Selectors as the boot protocol demands: __BOOT_CS 0x10, __BOOT_DS 0x18.
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr std::array<uint64_t, 4> kGdtEntries = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};

constexpr uint64_t kPresentWritable = 0x3;
constexpr uint64_t kLargePage = 0x80;
constexpr uint64_t kLargePageSize = 2ull << 20;

constexpr uint64_t kCr0 = 0x80050033;  // PG, AM, WP, NE, ET, MP, PE
constexpr uint64_t kCr4 = 0x620;       // PAE, OSFXSR, OSXMMEXCPT
constexpr uint64_t kEfer = 0x500;      // LME, LMA

kvm_segment segment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = code ? 1 : 0;
  segment.db = code ? 0 : 1;
  return segment;
}

}  // namespace

Result<void> write_long_mode_tables(const GuestMemory& memory) {
  TRY(memory.store(kGdt, kGdtEntries));
  GuestAddress pdpt{kPageTables.value + 4096};
  GuestAddress directory{kPageTables.value + 8192};
  TRY(memory.store(kPageTables, pdpt.value | kPresentWritable));
  TRY(memory.store(pdpt, directory.value | kPresentWritable));
  // The first GiB, in 2 MiB pages.
  std::array<uint64_t, 512> entries;
  for (size_t i = 0; i < entries.size(); i++) entries[i] = i * kLargePageSize | kPresentWritable | kLargePage;
  return memory.store(directory, entries);
}

Result<void> write_boot_data(const GuestMemory& memory, const LinuxKernel& kernel, const Initramfs& initramfs,
                             std::string_view cmdline) {
  ZeroPage page;
  if (kernel.setup_header.empty()) {
    page.put(kBootFlag, kBootFlagValue);
    page.put(kHeaderMagic, kHdrS);
    page.put(kVersion, kProtocolVersion);
    page.put(kLoadFlags, kLoadedHigh);
  } else {
    page.put(kSetupHeader, std::span(kernel.setup_header));
  }
  page.put(kTypeOfLoader, kUnregisteredLoader);
  page.put(kCommandLinePointer, static_cast<uint32_t>(kCommandLine.value));
  page.put(kRamdiskImage, static_cast<uint32_t>(initramfs.start.value));
  page.put(kRamdiskSize, static_cast<uint32_t>(initramfs.size));
  page.put(kAcpiRsdpAddress, kAcpiTables.value);
  add_memory_map(page, memory);

  TRY(memory.write(kZeroPage, page.bytes()));
  std::string line(cmdline);
  TRY(memory.write(kCommandLine, std::as_bytes(std::span(line.c_str(), line.size() + 1))));
  return write_long_mode_tables(memory);
}

Result<void> set_boot_registers(const Vcpu& vcpu, GuestAddress entry) {
  kvm_sregs sregs = TRY(get_sregs(vcpu));
  sregs.cs = segment(kCodeSelector, 0xb, true);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(kDataSelector, 0x3, false);
  sregs.gdt.base = kGdt.value;
  sregs.gdt.limit = sizeof(kGdtEntries) - 1;
  sregs.idt.base = 0;
  sregs.idt.limit = 0;
  sregs.cr0 = kCr0;
  sregs.cr3 = kPageTables.value;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  TRY(set_sregs(vcpu, sregs));

  kvm_regs regs{};
  regs.rflags = 2;  // the bit that is always set
  regs.rip = entry.value;
  regs.rsi = kZeroPage.value;
  regs.rsp = regs.rbp = kZeroPage.value;  // no stack is promised; a harmless one
  TRY(set_regs(vcpu, regs));

  kvm_fpu fpu{};
  fpu.fcw = 0x37f;
  fpu.mxcsr = 0x1f80;
  return set_fpu(vcpu, fpu);
}

}  // namespace nacre::vmm::x86_64
