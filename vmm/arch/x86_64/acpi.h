// The ACPI tables of a hardware-reduced machine (ACPI 6.5, section 4.1): CPUs, I/O APIC, serial port, virtio-mmio
// devices, and how to power off and reset. No PCI, no fixed hardware.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/guest_memory.h"

namespace nacre::vmm::x86_64 {

struct VirtioMmioSlot {
  uint32_t base;
  uint32_t irq;
};

// The tables as bytes that belong at kAcpiTables, the RSDP first.
std::string build_acpi_tables(unsigned cpus, bool com1, const std::vector<VirtioMmioSlot>& devices);

}  // namespace nacre::vmm::x86_64
