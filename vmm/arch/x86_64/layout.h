// SPDX-License-Identifier: Apache-2.0
// The x86_64 machine's address map, in one place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/guest_address.h"

namespace nacre::vmm::x86_64 {

// Guest-physical memory below 1 MiB: what the boot protocol wants handed over.
inline constexpr GuestAddress kGdt{0x500};
inline constexpr GuestAddress kZeroPage{0x7000};       // struct boot_params
inline constexpr GuestAddress kPageTables{0x9000};     // PML4, PDPT, PD: three pages
inline constexpr GuestAddress kCommandLine{0x20000};   // 4 KiB
inline constexpr GuestAddress kLowMemoryEnd{0x9fc00};  // where a BIOS would keep its data area
inline constexpr GuestAddress kAcpiTables{0xe0000};    // RSDP first; found by search too
inline constexpr size_t kAcpiTablesSize = 0x20000;
inline constexpr GuestAddress kHighMemory{0x100000};

// RAM is split round a hole for devices below 4 GiB.
inline constexpr uint64_t kMmioHoleStart = 0xc0000000;
inline constexpr uint64_t kMmioHoleEnd = 0x100000000;

// Memory that the guest may get later lies above all RAM. Its
// start and size are multiples of what Linux adds as one piece (arch/x86/mm/init_64.c, probe_memory_block_size): 128
// MiB, up to 2 GiB for a machine that boots with 64 GiB or more.
inline constexpr uint64_t hotplug_chunk(uint64_t ram_end) {
  return ram_end < (uint64_t{64} << 30) ? uint64_t{128} << 20 : uint64_t{2} << 30;
}

// In the hole.
inline constexpr GuestAddress kVirtioMmio{0xd0000000};  // one window per device
inline constexpr uint32_t kVirtioMmioSize = 0x1000;
inline constexpr GuestAddress kIoApic{0xfec00000};
inline constexpr GuestAddress kIdentityMap{0xfffbc000};  // KVM's own, 1 page
inline constexpr GuestAddress kTss{0xfffbd000};          // KVM's own, 3 pages
inline constexpr GuestAddress kLocalApic{0xfee00000};

// Port I/O.
inline constexpr uint16_t kCom1Port = 0x3f8;
inline constexpr uint8_t kCom1Ports = 8;
inline constexpr uint16_t kKeyboardPort = 0x60;  // 0x60 to 0x64: nothing but the reset line of an i8042
inline constexpr uint16_t kPowerPort = 0x600;    // sleep control, sleep status, reset (ACPI)

// Interrupt lines of the I/O APIC.
inline constexpr uint32_t kCom1Irq = 4;
inline constexpr uint32_t kFirstVirtioIrq = 5;
inline constexpr uint32_t kIrqCount = 24;
inline constexpr size_t kMaxVirtioDevices = kIrqCount - kFirstVirtioIrq;

}  // namespace nacre::vmm::x86_64
