// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/cpu.h"

#include <boost/test/unit_test.hpp>

namespace nacre::vmm::x86_64 {
namespace {

kvm_cpuid_entry2 leaf(uint32_t function, uint32_t index = 0) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  entry.eax = entry.ebx = entry.ecx = entry.edx = 0xffffffff;
  return entry;
}

// Returns what a vCPU says in one leaf of which the host has all bits set.
kvm_cpuid_entry2 told(kvm_cpuid_entry2 host, unsigned index, unsigned count, bool tsc_deadline = true) {
  return guest_cpuid({host}, tsc_deadline, index, count).at(0);
}

BOOST_AUTO_TEST_SUITE(cpuid)

BOOST_AUTO_TEST_CASE(each_cpu_has_its_own_apic_id) {
  for (unsigned count : {1u, 2u, 3u, 64u}) {
    for (unsigned index = 0; index < count; index++) {
      BOOST_TEST((told(leaf(1), index, count).ebx >> 24) == index);
      BOOST_TEST((told(leaf(1), index, count).ebx >> 16 & 0xff) == count);
      BOOST_TEST(told(leaf(0xb, 0), index, count).edx == index);
      BOOST_TEST(told(leaf(0x1f, 1), index, count).edx == index);
      BOOST_TEST(told(leaf(0x8000001e), index, count).eax == index);
      BOOST_TEST((told(leaf(0x8000001e), index, count).ebx & 0xff) == index);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_topology_is_one_socket_with_one_thread_per_core) {
  for (unsigned function : {0xbu, 0x1fu}) {
    kvm_cpuid_entry2 threads = told(leaf(function, 0), 2, 5);
    BOOST_TEST(threads.eax == 0u);
    BOOST_TEST(threads.ebx == 1u);
    BOOST_TEST(threads.ecx == 0x100u);
    kvm_cpuid_entry2 cores = told(leaf(function, 1), 2, 5);
    BOOST_TEST(cores.eax == 3u);  // bits of an APIC id that number the cores: 0 to 4
    BOOST_TEST(cores.ebx == 5u);
    BOOST_TEST(cores.ecx == 0x201u);
    kvm_cpuid_entry2 end = told(leaf(function, 2), 2, 5);
    BOOST_TEST(end.eax == 0u);
    BOOST_TEST(end.ebx == 0u);
    BOOST_TEST(end.ecx == 2u);
  }
  BOOST_TEST(told(leaf(0xb, 1), 0, 1).eax == 0u);
  BOOST_TEST(told(leaf(0xb, 1), 0, 64).eax == 6u);
  BOOST_TEST(told(leaf(0x80000008), 0, 5).ecx == (3u << 12 | 4u));
}

BOOST_AUTO_TEST_CASE(no_cache_is_shared) {
  for (unsigned function : {4u, 0x8000001du}) BOOST_TEST((told(leaf(function), 0, 8).eax & 0xfffu << 14) == 0u);
  BOOST_TEST((told(leaf(4), 0, 8).eax >> 26) == 7u);
  kvm_cpuid_entry2 none = leaf(4, 3);  // the end of the list: no cache
  none.eax = 0;
  BOOST_TEST(told(none, 0, 8).eax == 0u);
}

BOOST_AUTO_TEST_CASE(features_are_those_of_the_host_and_of_kvm) {
  kvm_cpuid_entry2 poor = leaf(1);
  poor.ecx = poor.edx = 0;
  BOOST_TEST(told(poor, 0, 1, false).ecx == 1u << 31);
  BOOST_TEST(told(poor, 0, 1, true).ecx == (1u << 31 | 1u << 24));
  BOOST_TEST(told(poor, 0, 1).edx == 0u);
  BOOST_TEST(told(poor, 0, 2).edx == 1u << 28);
  BOOST_TEST(told(leaf(7), 0, 1).edx == 0xffffffffu);
  BOOST_TEST(told(leaf(7, 1), 0, 1).ebx == 0xffffffffu);
}

BOOST_AUTO_TEST_CASE(what_is_hidden) {
  // Performance monitoring, SGX, processor trace, SVM, SEV.
  for (uint32_t function : {0xau, 0x12u, 0x14u, 0x8000000au, 0x8000001fu, 0x80000022u}) {
    kvm_cpuid_entry2 none = told(leaf(function), 0, 1);
    BOOST_TEST((none.eax | none.ebx | none.ecx | none.edx) == 0u);
  }
  BOOST_TEST((told(leaf(1), 0, 1).ecx & 1u << 5) == 0u);         // VMX
  BOOST_TEST(told(leaf(0x80000001), 0, 1).ecx == ~(1u << 2));    // SVM
  BOOST_TEST(told(leaf(7), 0, 1).ebx == ~(1u << 2 | 1u << 25));  // SGX, processor trace
  BOOST_TEST(told(leaf(7), 0, 1).ecx == ~(1u << 30));            // SGX launch control
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm::x86_64
