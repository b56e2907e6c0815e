// Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst, 1.15; zero-page.rst): the zero page, the command line,
// page tables and the first vCPU's registers.
#pragma once

#include <string_view>

#include "base/result.h"
#include "devices/guest_memory.h"
#include "vmm/boot/image.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::x86_64 {

// Writes everything that the kernel expects to find in memory.
Result<void> write_boot_data(const GuestMemory& memory, const KernelImage& kernel, const Initramfs& initramfs,
                             std::string_view cmdline, GuestAddress rsdp);

// Long mode with low memory mapped one to one, RSI at the zero page.
Result<void> set_boot_registers(Vcpu& vcpu, GuestAddress entry);

// The same state for any 64-bit code: what boot_registers needs in memory (GDT and page tables).
Result<void> write_long_mode_tables(const GuestMemory& memory);

}  // namespace nacre::vmm::x86_64
