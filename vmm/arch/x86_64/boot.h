// SPDX-License-Identifier: Apache-2.0
// Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst, 1.15; zero-page.rst): the zero page, the command line,
// page tables and the first vCPU's registers.
#pragma once

#include <string_view>

#include "base/result.h"
#include "devices/guest_memory.h"
#include "vmm/arch/x86_64/kernel.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::x86_64 {

// Writes everything that the kernel expects to find in memory, but for the ACPI tables at kAcpiTables.
Result<void> write_boot_data(const GuestMemory& memory, const LinuxKernel& kernel, const Initramfs& initramfs,
                             std::string_view cmdline);

// Puts a vCPU into long mode, with low memory mapped one to one and RSI at the zero page.
Result<void> set_boot_registers(const Vcpu& vcpu, GuestAddress entry);

// Writes what set_boot_registers() needs in memory, for a kernel and any other 64-bit code: GDT and page tables.
Result<void> write_long_mode_tables(const GuestMemory& memory);

}  // namespace nacre::vmm::x86_64
