// SPDX-License-Identifier: Apache-2.0
// KVM's ioctls that only x86 has (Documentation/virt/kvm/api.rst). Those of a vCPU are for its own thread, or before
// that runs.
#pragma once

#include <linux/kvm.h>

#include <span>
#include <vector>

#include "base/result.h"
#include "devices/guest_address.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::x86_64 {

Result<void> set_cpuid(const Vcpu& vcpu, std::span<const kvm_cpuid_entry2> entries);
Result<void> set_msrs(const Vcpu& vcpu, std::span<const kvm_msr_entry> entries);
Result<kvm_sregs> get_sregs(const Vcpu& vcpu);
Result<void> set_sregs(const Vcpu& vcpu, const kvm_sregs& sregs);
Result<kvm_regs> get_regs(const Vcpu& vcpu);
Result<void> set_regs(const Vcpu& vcpu, const kvm_regs& regs);
// Makes KVM see a vCPU that is made while others run. KVM sends interrupts by a map of local APICs, which it draws anew
// when one of them changes, and a new vCPU's own reset comes before the vCPU counts. Without this the guest's INIT does
// not find it.
Result<void> announce_apic(const Vcpu& vcpu);
Result<void> set_fpu(const Vcpu& vcpu, const kvm_fpu& fpu);

// Tell KVM the addresses of pages that it needs for itself on Intel hosts.
Result<void> set_tss_address(const Vm& vm, GuestAddress address);
Result<void> set_identity_map_address(const Vm& vm, GuestAddress address);
Result<void> create_irqchip(const Vm& vm);

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Kvm& kvm);

}  // namespace nacre::vmm::x86_64
