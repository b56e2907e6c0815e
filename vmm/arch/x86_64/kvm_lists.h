// SPDX-License-Identifier: Apache-2.0
// The ioctls of KVM that take a list (Documentation/virt/kvm/api.rst, 4.18 and 4.20).
#pragma once

#include <linux/kvm.h>

#include <cstdint>

namespace nacre::vmm::x86_64 {

// struct kvm_cpuid2 and struct kvm_msrs: a count, padding, and then the entries. The kernel's own declarations have a
// flexible array in an anonymous structure, which is 4 bytes larger in C++ than in C: the ioctl numbers, made from the
// size, come out wrong. So here are the C sizes.
struct ListHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, sizeof(ListHeader));
constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, sizeof(ListHeader));
constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, sizeof(ListHeader));

}  // namespace nacre::vmm::x86_64
