// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/kvm_x86.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "vmm/arch/x86_64/kvm_lists.h"

namespace nacre::vmm::x86_64 {

namespace {

constexpr size_t kMaxCpuidEntries = 256;

// Header and entries as one block.
template <typename Entry>
std::vector<std::byte> encode_list(std::span<const Entry> entries) {
  ListHeader header{static_cast<uint32_t>(entries.size()), 0};
  std::vector<std::byte> block(sizeof(header) + entries.size_bytes());
  std::memcpy(block.data(), &header, sizeof(header));
  std::memcpy(block.data() + sizeof(header), entries.data(), entries.size_bytes());
  return block;
}

}  // namespace

Result<void> set_cpuid(const Vcpu& vcpu, std::span<const kvm_cpuid_entry2> entries) {
  if (::ioctl(vcpu.fd(), kSetCpuid2, encode_list(entries).data()) < 0) return fail_errno("KVM_SET_CPUID2");
  return {};
}

Result<void> set_msrs(const Vcpu& vcpu, std::span<const kvm_msr_entry> entries) {
  int set = ::ioctl(vcpu.fd(), kSetMsrs, encode_list(entries).data());
  if (set < 0) return fail_errno("KVM_SET_MSRS");
  if (static_cast<size_t>(set) != entries.size()) {
    return fail("KVM_SET_MSRS: this KVM refuses MSR index " + std::to_string(entries[static_cast<size_t>(set)].index));
  }
  return {};
}

Result<kvm_sregs> get_sregs(const Vcpu& vcpu) {
  kvm_sregs sregs{};
  if (::ioctl(vcpu.fd(), KVM_GET_SREGS, &sregs) < 0) return fail_errno("KVM_GET_SREGS");
  return sregs;
}

Result<void> set_sregs(const Vcpu& vcpu, const kvm_sregs& sregs) {
  if (::ioctl(vcpu.fd(), KVM_SET_SREGS, &sregs) < 0) return fail_errno("KVM_SET_SREGS");
  return {};
}

Result<kvm_regs> get_regs(const Vcpu& vcpu) {
  kvm_regs regs{};
  if (::ioctl(vcpu.fd(), KVM_GET_REGS, &regs) < 0) return fail_errno("KVM_GET_REGS");
  return regs;
}

Result<void> set_regs(const Vcpu& vcpu, const kvm_regs& regs) {
  if (::ioctl(vcpu.fd(), KVM_SET_REGS, &regs) < 0) return fail_errno("KVM_SET_REGS");
  return {};
}

Result<void> announce_apic(const Vcpu& vcpu) {
  kvm_lapic_state state{};
  if (::ioctl(vcpu.fd(), KVM_GET_LAPIC, &state) < 0) return fail_errno("KVM_GET_LAPIC");
  if (::ioctl(vcpu.fd(), KVM_SET_LAPIC, &state) < 0) return fail_errno("KVM_SET_LAPIC");
  return {};
}

Result<void> set_fpu(const Vcpu& vcpu, const kvm_fpu& fpu) {
  if (::ioctl(vcpu.fd(), KVM_SET_FPU, &fpu) < 0) return fail_errno("KVM_SET_FPU");
  return {};
}

Result<void> set_tss_address(const Vm& vm, GuestAddress address) {
  if (::ioctl(vm.fd(), KVM_SET_TSS_ADDR, address.value) < 0) return fail_errno("KVM_SET_TSS_ADDR");
  return {};
}

Result<void> set_identity_map_address(const Vm& vm, GuestAddress address) {
  if (::ioctl(vm.fd(), KVM_SET_IDENTITY_MAP_ADDR, &address.value) < 0) {
    return fail_errno("KVM_SET_IDENTITY_MAP_ADDR");
  }
  return {};
}

Result<void> create_irqchip(const Vm& vm) {
  if (::ioctl(vm.fd(), KVM_CREATE_IRQCHIP, 0) < 0) return fail_errno("KVM_CREATE_IRQCHIP");
  return {};
}

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Kvm& kvm) {
  std::vector<kvm_cpuid_entry2> entries(kMaxCpuidEntries);
  std::vector<std::byte> block = encode_list(std::span<const kvm_cpuid_entry2>(entries));
  if (::ioctl(kvm.fd(), kGetSupportedCpuid, block.data()) < 0) return fail_errno("KVM_GET_SUPPORTED_CPUID");
  ListHeader header;
  std::memcpy(&header, block.data(), sizeof(header));
  entries.resize(std::min<size_t>(header.count, kMaxCpuidEntries));
  std::memcpy(entries.data(), block.data() + sizeof(header), entries.size() * sizeof(kvm_cpuid_entry2));
  return entries;
}

}  // namespace nacre::vmm::x86_64
