// SPDX-License-Identifier: Apache-2.0
// Everything that a machine has of its processor's architecture. One folder below vmm/arch/ defines it, chosen by the
// build (vmm/meson.build) from the processor that vmm is built for; nothing else in vmm/ includes that folder's headers
// except its own tests.
//
// A new architecture is a folder vmm/arch/NAME/ that defines all functions below, with NAME the value of Meson's
// host_machine.cpu_family() ("aarch64"), and vmm/api/command_line_NAME.cc with the functions of vmm/api/command_line.h:
//   * address map: where RAM lies, where memory that comes later may lie, and windows and interrupt lines of the virtio
//     devices and the console;
//   * the VM before its first vCPU: interrupt controller and what else KVM wants to be told (set_up_vm());
//   * power: the registers or calls by which a guest powers off and resets itself;
//   * the CPUs: registers of the first instruction, what they say of themselves, and how a late one is announced;
//   * the guest's software: the kernel formats, tables that describe the machine (ACPI or a device tree), boot data;
//   * the guest code of `vmm check`.
// aarch64 has no port I/O, and leaves Buses::ports empty; PSCI calls end a guest there as KVM_EXIT_SYSTEM_EVENT, which
// vmm/machine/vcpu_thread.cc knows already, so that its create_power() has nothing to map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/guest_address.h"
#include "devices/guest_memory.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::arch {

// --- address map

struct AddressRange {
  GuestAddress start;
  uint64_t size;
};

// Returns the ranges, sorted by address, over which `size` bytes of RAM are spread. The first one holds the kernel.
std::vector<AddressRange> ram_ranges(uint64_t size);

// Returns the addresses for `size` bytes that may come later, rounded up to whole chunks. They lie above the `boot`
// bytes of RAM and border on none of them, so that no buffer lies in both.
AddressRange hotplug_range(uint64_t boot, uint64_t size);

// Returns the size of the pieces in which a guest kernel adds memory, if it has booted with `boot` bytes.
uint64_t hotplug_chunk(uint64_t boot);

// Where a virtio-mmio device lies, and its interrupt line. There are max_virtio_devices().
struct VirtioSlot {
  GuestAddress base;
  uint32_t irq;
};
size_t max_virtio_devices();
VirtioSlot virtio_slot(size_t index);

struct Buses {
  Bus mmio;
  Bus ports;  // x86's port I/O
};

// Maps a serial port in the console's place. It raises the line console_irq().
Result<void> map_console(Buses& buses, BusDevice& serial);
uint32_t console_irq();

// --- virtual machine and power

// Prepares a VM for its first vCPU: the interrupt controller, and memory that KVM needs for itself.
Result<void> set_up_vm(const Vm& vm);

// The devices by which a guest ends itself.
class Power {
 public:
  virtual ~Power() = default;
};

struct PowerActions {
  std::function<void()> power_off;
  std::function<void()> reset;
};

// Maps them. The actions are called on a vCPU's thread.
Result<std::unique_ptr<Power>> create_power(Buses& buses, PowerActions actions);

// --- CPUs

// Sets up vCPUs.
class Cpus {
 public:
  virtual ~Cpus() = default;
  // Prepares vCPU `index` of `count`. All but the first wait until the guest starts them.
  virtual Result<void> set_up(Vcpu& vcpu, unsigned index, unsigned count) = 0;
  // Makes a vCPU begin at `entry`, in the state in which the boot protocol enters a kernel.
  virtual Result<void> enter_at(Vcpu& vcpu, GuestAddress entry) = 0;
  // Makes known a vCPU that was made while others run.
  virtual Result<void> announce(Vcpu& vcpu) = 0;
};

// Asks KVM what the host's CPUs can do.
Result<std::unique_ptr<Cpus>> create_cpus(const Kvm& kvm);

// --- the guest's software

// What the tables tell the guest about its machine.
struct BoardView {
  unsigned cpus = 1;  // those that may come later, too
  bool has_console = false;
  std::vector<VirtioSlot> virtio;
};

struct GuestSoftware {
  const Fd& kernel;
  const Fd& initrd;                      // invalid: none
  std::string kernel_name, initrd_name;  // for errors
  std::string command_line;
};

// Loads kernel, initramfs, tables and boot data into guest memory. Returns where the first vCPU begins.
Result<GuestAddress> load_guest(const GuestMemory& memory, const GuestSoftware& software, const BoardView& board);

// --- `vmm check`

// The steps of a tiny guest that runs what Linux needs, by number.
std::span<const char* const> selftest_steps();
// Loads it and makes the vCPU begin with it. The first 2 MiB of addresses are RAM.
Result<void> load_selftest(const Kvm& kvm, const GuestMemory& memory, Vcpu& vcpu);
// Returns the number of the step that the guest is about to take, if that is why it left, and kSelftestDone after the
// last.
std::optional<uint8_t> selftest_step(Vcpu& vcpu);
inline constexpr uint8_t kSelftestDone = 0xff;

}  // namespace nacre::vmm::arch
