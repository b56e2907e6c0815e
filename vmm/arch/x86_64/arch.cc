// SPDX-License-Identifier: Apache-2.0
// The x86_64 machine (vmm/arch/arch.h).
#include "vmm/arch/arch.h"

#include <fmt/core.h>

#include <algorithm>

#include "vmm/arch/x86_64/acpi.h"
#include "vmm/arch/x86_64/boot.h"
#include "vmm/arch/x86_64/cpu.h"
#include "vmm/arch/x86_64/kernel.h"
#include "vmm/arch/x86_64/kvm_x86.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/arch/x86_64/power.h"
#include "vmm/arch/x86_64/selftest_code.h"

namespace nacre::vmm::arch {

namespace {

using namespace x86_64;

constexpr GuestAddress kSelftestStart{0x10000};

uint64_t ram_end(uint64_t size) {
  return size > kMmioHoleStart ? kMmioHoleEnd + (size - kMmioHoleStart) : size;
}

class X86Power final : public Power {
 public:
  explicit X86Power(const PowerActions& actions)
      : registers_(actions.power_off, actions.reset), keyboard_(actions.reset) {}
  Result<void> map(Buses& buses) {
    TRY(buses.ports.add(kPowerPort, 3, registers_));
    return buses.ports.add(kKeyboardPort, 5, keyboard_);
  }

 private:
  PowerDevice registers_;
  KeyboardReset keyboard_;
};

class X86Cpus final : public Cpus {
 public:
  X86Cpus(std::vector<kvm_cpuid_entry2> supported, bool tsc_deadline)
      : supported_(std::move(supported)), tsc_deadline_(tsc_deadline) {}

  Result<void> set_up(Vcpu& vcpu, unsigned index, unsigned count) override {
    TRY(set_cpuid(vcpu, guest_cpuid(supported_, tsc_deadline_, index, count)));
    return set_initial_msrs(vcpu);
  }
  Result<void> enter_at(Vcpu& vcpu, GuestAddress entry) override { return set_boot_registers(vcpu, entry); }
  Result<void> announce(Vcpu& vcpu) override { return announce_apic(vcpu); }

 private:
  const std::vector<kvm_cpuid_entry2> supported_;
  const bool tsc_deadline_;
};

}  // namespace

std::vector<AddressRange> ram_ranges(uint64_t size) {
  std::vector<AddressRange> ranges = {{GuestAddress{0}, std::min(size, kMmioHoleStart)}};
  if (size > kMmioHoleStart) ranges.push_back({GuestAddress{kMmioHoleEnd}, size - kMmioHoleStart});
  return ranges;
}

uint64_t hotplug_chunk(uint64_t boot) {
  return x86_64::hotplug_chunk(ram_end(boot));
}

AddressRange hotplug_range(uint64_t boot, uint64_t size) {
  uint64_t end = ram_end(boot), chunk = hotplug_chunk(boot);
  auto round_up = [chunk](uint64_t value) { return (value + chunk - 1) / chunk * chunk; };
  return {GuestAddress{std::max(kMmioHoleEnd, round_up(end + 1))}, round_up(size)};
}

size_t max_virtio_devices() {
  return kMaxVirtioDevices;
}

VirtioSlot virtio_slot(size_t index) {
  return {GuestAddress{kVirtioMmio.value + index * kVirtioMmioSize}, kFirstVirtioIrq + static_cast<uint32_t>(index)};
}

Result<void> map_console(Buses& buses, BusDevice& serial) {
  return buses.ports.add(kCom1Port, kCom1Ports, serial);
}

uint32_t console_irq() {
  return kCom1Irq;
}

Result<void> set_up_vm(const Vm& vm) {
  TRY(set_identity_map_address(vm, kIdentityMap));
  TRY(set_tss_address(vm, kTss));
  return create_irqchip(vm);
}

Result<std::unique_ptr<Power>> create_power(Buses& buses, PowerActions actions) {
  auto power = std::make_unique<X86Power>(actions);
  TRY(power->map(buses));
  return std::unique_ptr<Power>(std::move(power));
}

Result<std::unique_ptr<Cpus>> create_cpus(const Kvm& kvm) {
  auto supported = TRY(supported_cpuid(kvm));
  bool tsc_deadline = TRY(kvm.check_extension(KVM_CAP_TSC_DEADLINE_TIMER)) > 0;
  return std::unique_ptr<Cpus>(std::make_unique<X86Cpus>(std::move(supported), tsc_deadline));
}

Result<GuestAddress> load_guest(const GuestMemory& memory, const GuestSoftware& software, const BoardView& board) {
  LinuxKernel kernel = TRY(load_kernel(memory, software.kernel, software.kernel_name));
  Initramfs initramfs;
  if (software.initrd) {
    initramfs = TRY(load_initramfs(memory, software.initrd, software.initrd_name, kernel.end, kernel.initrd_limit));
  }
  std::string tables = build_acpi_tables(board);
  if (tables.size() > kAcpiTablesSize) return fail("too many devices for the ACPI tables");
  TRY(memory.write(kAcpiTables, std::as_bytes(std::span(tables))));
  TRY(write_boot_data(memory, kernel, initramfs, software.command_line));
  return kernel.entry;
}

std::span<const char* const> selftest_steps() {
  return kSelftestSteps;
}

Result<void> load_selftest(const Kvm& kvm, const GuestMemory& memory, Vcpu& vcpu) {
  TRY(write_long_mode_tables(memory));
  TRY(memory.write(kSelftestStart, selftest_code()));
  TRY(set_cpuid(vcpu, guest_cpuid(TRY(supported_cpuid(kvm)), false, 0, 1)));
  return set_boot_registers(vcpu, kSelftestStart);
}

std::optional<uint8_t> selftest_step(Vcpu& vcpu) {
  const kvm_run& exit = vcpu.exit();
  if (exit.exit_reason != KVM_EXIT_IO) return std::nullopt;
  if (exit.io.direction != KVM_EXIT_IO_OUT || exit.io.port != kSelftestPort) return std::nullopt;
  return static_cast<uint8_t>(vcpu.io_data()[0]);
}

}  // namespace nacre::vmm::arch
