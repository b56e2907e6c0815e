// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/cpu.h"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>

#include "vmm/arch/x86_64/kvm_x86.h"

namespace nacre::vmm::x86_64 {

namespace {

// Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
constexpr uint32_t kFeatures = 0x1;
constexpr uint32_t kCacheParameters = 0x4;
constexpr uint32_t kTopology = 0xb;
constexpr uint32_t kTopologyV2 = 0x1f;
constexpr uint32_t kAmdSizes = 0x80000008;
constexpr uint32_t kAmdCacheParameters = 0x8000001d;
constexpr uint32_t kAmdTopology = 0x8000001e;

constexpr uint32_t kTscDeadlineBit = 1u << 24;     // leaf 1, ECX
constexpr uint32_t kHypervisorBit = 1u << 31;      // leaf 1, ECX
constexpr uint32_t kHyperThreadingBit = 1u << 28;  // leaf 1, EDX: EBX[23:16] is valid

// Lists the CPU features that guests are not told of. Virtual machines in the guest, SGX and SEV are large parts of KVM
// that a guest could attack. With counters and processor trace a guest could watch the host's CPU.
struct HiddenBits {
  uint32_t function, ebx, ecx;  // of index 0
};
constexpr HiddenBits kHiddenBits[] = {
    {.function = 0x1, .ebx = 0, .ecx = 1u << 5},                    // VMX
    {.function = 0x7, .ebx = 1u << 2 | 1u << 25, .ecx = 1u << 30},  // SGX, processor trace, SGX launch control
    {.function = 0x80000001, .ebx = 0, .ecx = 1u << 2},             // SVM
};
// Performance monitoring, SGX, processor trace, SVM, SEV, performance monitoring.
constexpr uint32_t kHiddenLeaves[] = {0xa, 0x12, 0x14, 0x8000000a, 0x8000001f, 0x80000022};

constexpr uint32_t kLevelSmt = 1 << 8;
constexpr uint32_t kLevelCore = 2 << 8;

constexpr uint32_t kMsrMiscEnable = 0x1a0;
constexpr uint64_t kFastString = 1;
constexpr uint32_t kMsrMtrrDefaultType = 0x2ff;
constexpr uint64_t kMtrrEnabledWriteBack = 1u << 11 | 6;

// Returns how many bits hold a number up to count - 1.
uint32_t id_bits(unsigned count) {
  return std::bit_width(count - 1);
}

void set_topology(kvm_cpuid_entry2& entry, unsigned index, unsigned count) {
  entry.edx = index;
  switch (entry.index) {
    case 0:
      entry.eax = 0;
      entry.ebx = 1;
      entry.ecx = kLevelSmt;
      break;
    case 1:
      entry.eax = id_bits(count);
      entry.ebx = count;
      entry.ecx = kLevelCore | 1;
      break;
    default:
      entry.eax = entry.ebx = 0;
      entry.ecx = entry.index;
  }
}

// Says that no cache is shared: which of the host's CPUs share one says nothing about where vCPU threads run.
void set_cache_sharing(kvm_cpuid_entry2& entry, unsigned count) {
  constexpr uint32_t kSharingThreads = 0xfffu << 14;
  constexpr uint32_t kCoresPerPackage = 0x3fu << 26;
  entry.eax &= ~kSharingThreads;
  if (entry.function == kCacheParameters && (entry.eax & 0x1f) != 0) {
    entry.eax = (entry.eax & ~kCoresPerPackage) | ((count - 1) & 0x3f) << 26;
  }
}

void hide(kvm_cpuid_entry2& entry) {
  if (std::ranges::find(kHiddenLeaves, entry.function) != std::end(kHiddenLeaves))
    entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
  for (const HiddenBits& hidden : kHiddenBits) {
    if (entry.function != hidden.function || entry.index != 0) continue;
    entry.ebx &= ~hidden.ebx;
    entry.ecx &= ~hidden.ecx;
  }
}

void adjust(kvm_cpuid_entry2& entry, bool tsc_deadline, unsigned index, unsigned count) {
  switch (entry.function) {
    case kFeatures:
      entry.ebx = (entry.ebx & 0x0000ffff) | count << 16 | index << 24;
      entry.ecx |= kHypervisorBit;
      if (tsc_deadline) entry.ecx |= kTscDeadlineBit;
      if (count > 1) entry.edx |= kHyperThreadingBit;
      break;
    case kCacheParameters:
    case kAmdCacheParameters:
      set_cache_sharing(entry, count);
      break;
    case kTopology:
    case kTopologyV2:
      set_topology(entry, index, count);
      break;
    case kAmdSizes:
      entry.ecx = id_bits(count) << 12 | (count - 1);
      break;
    case kAmdTopology:
      entry.eax = index;
      entry.ebx = index;  // one thread per core
      entry.ecx = 0;      // one node
      break;
    default:
      break;
  }
}

}  // namespace

std::vector<kvm_cpuid_entry2> guest_cpuid(const std::vector<kvm_cpuid_entry2>& supported, bool tsc_deadline,
                                          unsigned index, unsigned count) {
  std::vector<kvm_cpuid_entry2> entries = supported;
  for (kvm_cpuid_entry2& entry : entries) {
    hide(entry);
    adjust(entry, tsc_deadline, index, count);
  }
  return entries;
}

Result<void> set_initial_msrs(const Vcpu& vcpu) {
  std::array<kvm_msr_entry, 2> msrs{};
  msrs[0].index = kMsrMiscEnable;
  msrs[0].data = kFastString;
  msrs[1].index = kMsrMtrrDefaultType;
  msrs[1].data = kMtrrEnabledWriteBack;
  return set_msrs(vcpu, msrs);
}

}  // namespace nacre::vmm::x86_64
