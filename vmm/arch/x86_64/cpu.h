// SPDX-License-Identifier: Apache-2.0
// What a guest's CPUs say about themselves: CPUID and the model-specific registers set before the first instruction.
#pragma once

#include <vector>

#include "base/result.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::x86_64 {

// Returns the host's CPUID, as far as KVM supports it, made true for vCPU `index` of `count`: APIC ids, topology (one
// socket, one thread per core), hypervisor bit, and the TSC deadline timer if KVM has one.
std::vector<kvm_cpuid_entry2> guest_cpuid(const std::vector<kvm_cpuid_entry2>& supported, bool tsc_deadline,
                                          unsigned index, unsigned count);

// Sets what firmware would have left: memory type write-back, fast string operations.
Result<void> set_initial_msrs(const Vcpu& vcpu);

}  // namespace nacre::vmm::x86_64
