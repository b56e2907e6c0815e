// KVM's ioctls with owners and errors (Documentation/virt/kvm/api.rst in the kernel source). No policy here.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "devices/guest_address.h"
#include "devices/irq_line.h"

namespace nacre::vmm {

// One vCPU. run() and the register calls are for its own thread; request_exit() is for any.
class Vcpu {
 public:
  Vcpu(Fd fd, Mapping run) : fd_(std::move(fd)), run_(std::move(run)) {}

  // Enters the guest. True: it came out with an exit to look at in exit(). False: request_exit() or a signal.
  Result<bool> run();
  kvm_run& exit() { return *reinterpret_cast<kvm_run*>(run_.data()); }
  // The data bytes of a KVM_EXIT_IO.
  std::span<std::byte> io_data();

  // Makes the next run() return false at once. With a signal to the thread (whose handler may be empty) it also ends
  // a run() that is under way (api.rst, kvm_run.immediate_exit).
  void request_exit() { __atomic_store_n(&exit().immediate_exit, uint8_t{1}, __ATOMIC_SEQ_CST); }

  Result<void> set_cpuid(std::span<const kvm_cpuid_entry2> entries);
  Result<void> set_msrs(std::span<const kvm_msr_entry> entries);
  Result<kvm_sregs> sregs();
  Result<void> set_sregs(const kvm_sregs& sregs);
  Result<kvm_regs> regs();
  Result<void> set_regs(const kvm_regs& regs);
  // For a vCPU that is made while others run already: KVM sends interrupts by a map of local APICs, which it draws anew
  // when one of them changes, and a new vCPU's own reset comes before the vCPU counts. Without this the guest's INIT
  // does not find it.
  Result<void> announce_apic();
  Result<void> set_fpu(const kvm_fpu& fpu);

 private:
  Fd fd_;
  Mapping run_;
};

class Vm {
 public:
  explicit Vm(Fd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  // `memory` must outlive the VM. Guest writes to a read-only slot exit as MMIO.
  Result<void> add_memory(uint32_t slot, GuestAddress start, std::span<std::byte> memory, bool readonly = false);
  Result<void> remove_memory(uint32_t slot);
  // x86: the addresses of pages that KVM needs for itself on Intel hosts.
  Result<void> set_tss_address(GuestAddress address);
  Result<void> set_identity_map_address(GuestAddress address);
  Result<void> create_irqchip();
  // Each signal of `event` (an eventfd) becomes one edge on the interrupt line.
  Result<void> add_irqfd(int event, uint32_t gsi);
  // A 4-byte guest write of `value` at `address` signals `event` without an exit.
  Result<void> add_ioeventfd(int event, GuestAddress address, uint32_t value);
  Result<Vcpu> create_vcpu(uint32_t id);
  Result<int> check_extension(long capability) const;

 private:
  Fd fd_;
  size_t run_size_;
};

class Kvm {
 public:
  // Opens /dev/kvm; errors say what is wrong with it in words for the user.
  static Result<Kvm> open();

  Result<Vm> create_vm();
  Result<std::vector<kvm_cpuid_entry2>> supported_cpuid();
  Result<int> check_extension(long capability) const;

 private:
  Kvm(Fd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}
  Fd fd_;
  size_t run_size_;
};

// An interrupt line that KVM raises by itself when its eventfd is written.
class IrqFd final : public IrqLine {
 public:
  static Result<std::unique_ptr<IrqFd>> create(Vm& vm, uint32_t gsi);
  void trigger() override;

 private:
  explicit IrqFd(Fd event) : event_(std::move(event)) {}
  Fd event_;
};

}  // namespace nacre::vmm
