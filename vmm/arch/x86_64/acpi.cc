// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/acpi.h"

#include <fmt/core.h>

#include <numeric>

#include "vmm/arch/x86_64/aml.h"
#include "vmm/arch/x86_64/bytes.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/power.h"

namespace nacre::vmm::x86_64 {

namespace {

constexpr size_t kHeaderSize = 36;
constexpr size_t kChecksumOffset = 9;

// FADT (5.2.9), by offset from the table's start.
constexpr size_t kFadtSize = 276;
constexpr size_t kFadtBootArch = 109;  // IAPC_BOOT_ARCH, u16
constexpr size_t kFadtFlags = 112;     // u32
constexpr size_t kFadtResetRegister = 116;
constexpr size_t kFadtResetValue = 128;    // u8
constexpr size_t kFadtMinorVersion = 131;  // u8
constexpr size_t kFadtXDsdt = 140;         // u64
constexpr size_t kFadtSleepControl = 244;
constexpr size_t kFadtSleepStatus = 256;
constexpr uint16_t kNoVga = 1 << 2;
constexpr uint16_t kNoCmosRtc = 1 << 5;
constexpr uint32_t kFlagWbinvd = 1u << 0;
constexpr uint32_t kFlagNoPowerButton = 1u << 4;
constexpr uint32_t kFlagNoSleepButton = 1u << 5;
constexpr uint32_t kFlagResetRegister = 1u << 10;
constexpr uint32_t kFlagHardwareReduced = 1u << 20;

// MADT entries (5.2.12).
constexpr char kLocalApicEntry = 0;
constexpr char kIoApicEntry = 1;
constexpr uint32_t kEnabled = 1;

char checksum(std::string_view bytes) {
  return static_cast<char>(-std::accumulate(bytes.begin(), bytes.end(), 0, [](int sum, char c) { return sum + c; }));
}

std::string table(std::string_view signature, uint8_t revision, std::string_view body) {
  std::string bytes(signature);
  bytes += le(static_cast<uint32_t>(kHeaderSize + body.size()));
  bytes += static_cast<char>(revision);
  bytes += '\0';              // checksum, below
  bytes += "NACRE NACREVM ";  // OEM id (6) and OEM table id (8)
  bytes += le(uint32_t{1}) += "NACR";
  bytes += le(uint32_t{1}) += body;
  bytes[kChecksumOffset] = checksum(bytes);
  return bytes;
}

// Encodes the generic address structure (5.2.3.2) of an 8-bit I/O port.
std::string io_port(uint16_t port) {
  return std::string("\x01\x08\x00\x01", 4) += le(uint64_t{port});
}

std::string dsdt(bool com1, const std::vector<arch::VirtioSlot>& devices) {
  std::string tree;
  if (com1) {
    tree += aml::device(
        "COM1", aml::name("_HID", aml::text("PNP0501")) += aml::name("_UID", aml::integer(0)) += aml::name(
                    "_CRS", aml::resources(aml::io_ports(kCom1Port, kCom1Ports) += aml::edge_interrupt(kCom1Irq))));
  }
  for (size_t i = 0; i < devices.size(); i++) {
    const arch::VirtioSlot& slot = devices[i];
    tree += aml::device(
        fmt::format("V{:03}", i),
        aml::name("_HID", aml::text("LNRO0005")) += aml::name("_UID", aml::integer(static_cast<uint32_t>(i))) +=
        aml::name("_CRS", aml::resources(aml::memory32(static_cast<uint32_t>(slot.base.value), kVirtioMmioSize) +=
                                         aml::edge_interrupt(slot.irq))));
  }
  std::string s5 = aml::package(aml::integer(kSleepTypeS5) += aml::integer(kSleepTypeS5), 2);
  return table("DSDT", 2, aml::scope("\\_SB_", tree) += aml::name("_S5_", s5));
}

std::string fadt(uint64_t dsdt_address) {
  std::string body(kFadtSize - kHeaderSize, '\0');
  auto put = [&body](size_t offset, std::string_view bytes) {
    body.replace(offset - kHeaderSize, bytes.size(), bytes);
  };
  put(kFadtBootArch, le(static_cast<uint16_t>(kNoVga | kNoCmosRtc)));
  put(kFadtFlags,
      le(kFlagWbinvd | kFlagNoPowerButton | kFlagNoSleepButton | kFlagResetRegister | kFlagHardwareReduced));
  put(kFadtResetRegister, io_port(kPowerPort + kResetOffset));
  put(kFadtResetValue, std::string(1, static_cast<char>(kResetValue)));
  put(kFadtMinorVersion, std::string(1, '\5'));
  put(kFadtXDsdt, le(dsdt_address));
  put(kFadtSleepControl, io_port(kPowerPort + kSleepControlOffset));
  put(kFadtSleepStatus, io_port(kPowerPort + kSleepStatusOffset));
  return table("FACP", 6, body);
}

std::string madt(unsigned cpus) {
  std::string body = le(static_cast<uint32_t>(kLocalApic.value)) += le(uint32_t{0});
  for (unsigned i = 0; i < cpus; i++) {
    body += std::string{kLocalApicEntry, '\x08', static_cast<char>(i), static_cast<char>(i)} += le(kEnabled);
  }
  body += std::string{kIoApicEntry, '\x0c', '\0', '\0'} += le(static_cast<uint32_t>(kIoApic.value));
  body += le(uint32_t{0});  // its first interrupt line
  return table("APIC", 5, body);
}

std::string rsdp(uint64_t xsdt_address) {
  std::string bytes("RSD PTR ");
  bytes += '\0';  // checksum of the first 20 bytes
  bytes += "NACRE ";
  bytes += '\2';
  bytes += le(uint32_t{0}) += le(uint32_t{36});
  bytes += le(xsdt_address);
  bytes += std::string(4, '\0');  // extended checksum, reserved
  bytes[8] = checksum(std::string_view(bytes).substr(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

}  // namespace

std::string build_acpi_tables(const arch::BoardView& board) {
  constexpr size_t kRsdpSpace = 64;
  std::string tables(kRsdpSpace, '\0');
  auto append = [&tables](std::string_view bytes) {
    tables.resize((tables.size() + 15) / 16 * 16);
    uint64_t address = kAcpiTables.value + tables.size();
    tables += bytes;
    return address;
  };
  uint64_t dsdt_address = append(dsdt(board.has_console, board.virtio));
  uint64_t fadt_address = append(fadt(dsdt_address));
  uint64_t madt_address = append(madt(board.cpus));
  uint64_t xsdt_address = append(table("XSDT", 1, le(fadt_address) += le(madt_address)));
  std::string root = rsdp(xsdt_address);
  tables.replace(0, root.size(), root);
  return tables;
}

}  // namespace nacre::vmm::x86_64
