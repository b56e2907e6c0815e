// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of a hardware-reduced machine (ACPI 6.5, section 4.1): CPUs, I/O APIC, serial port, virtio-mmio
// devices, and how to power off and reset. No PCI, no fixed hardware.
#pragma once

#include <string>

#include "vmm/arch/arch.h"

namespace nacre::vmm::x86_64 {

// Returns the tables as bytes that belong at kAcpiTables, the RSDP first.
std::string build_acpi_tables(const arch::BoardView& board);

}  // namespace nacre::vmm::x86_64
