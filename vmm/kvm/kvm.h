// SPDX-License-Identifier: Apache-2.0
// KVM's ioctls that every architecture has, with owners and errors (Documentation/virt/kvm/api.rst in the kernel
// source). No policy here.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "devices/guest_address.h"
#include "devices/irq_line.h"

namespace nacre::vmm {

// One vCPU. Any thread may call request_exit(); everything else is for the vCPU's own thread, or before that runs.
class Vcpu {
 public:
  Vcpu(Fd fd, Mapping run) : fd_(std::move(fd)), run_(std::move(run)) {}

  // Enters the guest. Returns true if the guest left with an exit to look at in exit(), false after request_exit() or a
  // signal.
  Result<bool> run();
  kvm_run& exit() { return *reinterpret_cast<kvm_run*>(run_.data()); }
  // Returns the data bytes of a KVM_EXIT_IO.
  std::span<std::byte> io_data();

  // Makes the next run() return false at once. With a signal to the thread (whose handler may be empty) it also ends
  // a run() that is under way (api.rst, kvm_run.immediate_exit).
  void request_exit() { __atomic_store_n(&exit().immediate_exit, uint8_t{1}, __ATOMIC_SEQ_CST); }

  // For ioctls of one architecture (vmm/arch/x86_64/kvm_x86.h).
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  Mapping run_;
};

class Vm {
 public:
  explicit Vm(Fd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  // Gives the guest `memory`, which must outlive the VM or the slot. Guest writes to a read-only slot exit as MMIO.
  Result<void> add_memory(uint32_t slot, GuestAddress start, std::span<std::byte> memory, bool readonly = false);
  Result<void> remove_memory(uint32_t slot);
  // Turns each signal of `event` (an eventfd) into one edge on the interrupt line.
  Result<void> add_irqfd(int event, uint32_t gsi);
  // Signals `event` without an exit when the guest writes the 4-byte `value` at `address`.
  Result<void> add_ioeventfd(int event, GuestAddress address, uint32_t value);
  Result<Vcpu> create_vcpu(uint32_t id);
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  size_t run_size_;
};

class Kvm {
 public:
  // Opens /dev/kvm; errors say what is wrong with it in words for the user.
  static Result<Kvm> open();

  Result<Vm> create_vm();
  Result<int> check_extension(long capability) const;
  int fd() const { return fd_.get(); }

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
