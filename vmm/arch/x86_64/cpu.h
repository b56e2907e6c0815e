// What a guest's CPUs say of themselves: CPUID and the model-specific registers set before the first instruction.
#pragma once

#include <vector>

#include "base/result.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm::x86_64 {

// The host's CPUID as KVM can carry it, made true for vCPU `index` of `count`: APIC ids, topology (one socket, one
// thread per core), hypervisor bit, TSC deadline timer where KVM has it.
std::vector<kvm_cpuid_entry2> guest_cpuid(const std::vector<kvm_cpuid_entry2>& supported, bool tsc_deadline,
                                          unsigned index, unsigned count);

// Memory type write-back, fast string operations: what firmware would have left.
Result<void> set_initial_msrs(Vcpu& vcpu);

}  // namespace nacre::vmm::x86_64
