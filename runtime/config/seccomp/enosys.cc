// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <map>

#include "runtime/config/seccomp/compile.h"
#include "runtime/config/seccomp/names.h"

namespace nacre::seccomp {

namespace {

constexpr uint32_t kX32Bit = 1u << 30;  // in the numbers of x32's system calls; their AUDIT_ARCH is x86_64's
constexpr sock_filter kLoadNumber = {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)};
constexpr sock_filter kLoadArchitecture = {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)};
constexpr sock_filter kReturnEnosys = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS};

// Whoever traces, logs or allows what is unknown means to see it.
bool lets_pass(uint32_t action) {
  return action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG || (action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE;
}

// The highest number of a system call that the profile names, on one architecture; 0 if there is none.
uint32_t newest_of(const Profile& profile, uint32_t architecture) {
  int newest = 0;
  for (const Rule& rule : profile.rules) {
    for (const std::string& name : rule.names) {
      newest = std::max(newest, ::seccomp_syscall_resolve_name_arch(architecture, name.c_str()));
    }
  }
  return static_cast<uint32_t>(newest);
}

sock_filter jump(uint32_t skipped) {
  return {BPF_JMP | BPF_JA, 0, 0, skipped};
}

sock_filter jump_if(uint16_t condition, uint32_t value, uint8_t skipped_if_true, uint8_t skipped_if_false) {
  return {static_cast<uint16_t>(BPF_JMP | condition | BPF_K), skipped_if_true, skipped_if_false, value};
}

// For one architecture: numbers above `newest` give ENOSYS, others go on behind the section.
std::vector<sock_filter> plain_section(uint32_t newest) {
  return {kLoadNumber, jump_if(BPF_JGT, newest, 0, 1), kReturnEnosys};
}

// For x86_64 and x32, of which only those that the profile has (not 0) are looked at.
std::vector<sock_filter> x86_64_section(uint32_t newest, uint32_t newest_x32) {
  return {kLoadNumber, jump_if(BPF_JSET, kX32Bit, 1, 0),
          newest != 0 ? jump_if(BPF_JGT, newest, 1, 2) : jump(2),          // x86_64
          newest_x32 != 0 ? jump_if(BPF_JGT, newest_x32, 0, 1) : jump(1),  // x32
          kReturnEnosys};
}

}  // namespace

std::vector<sock_filter> enosys_prelude(const Profile& profile) {
  if (profile.default_errno == ENOSYS || lets_pass(profile.default_action)) return {};
  std::map<uint32_t, uint32_t> newest;  // by SCMP_ARCH_*
  newest[::seccomp_arch_native()] = 0;
  for (uint32_t architecture : profile.architectures) newest[architecture] = 0;
  for (auto& [architecture, number] : newest) number = newest_of(profile, architecture);

  std::vector<sock_filter> prelude;
  auto add = [&](uint32_t audit_architecture, const std::vector<sock_filter>& section) {
    prelude.push_back(kLoadArchitecture);
    prelude.push_back(jump_if(BPF_JEQ, audit_architecture, 0, static_cast<uint8_t>(section.size())));
    prelude.insert(prelude.end(), section.begin(), section.end());
  };
  for (auto [architecture, number] : newest) {
    if (number == 0 || architecture == SCMP_ARCH_X86_64 || architecture == SCMP_ARCH_X32) continue;
    // Other than x32, libseccomp's names for architectures are the kernel's.
    add(architecture, plain_section(number));
  }
  uint32_t x86_64 = newest.contains(SCMP_ARCH_X86_64) ? newest[SCMP_ARCH_X86_64] : 0;
  uint32_t x32 = newest.contains(SCMP_ARCH_X32) ? newest[SCMP_ARCH_X32] : 0;
  if (x86_64 != 0 || x32 != 0) add(SCMP_ARCH_X86_64, x86_64_section(x86_64, x32));
  return prelude;
}

}  // namespace nacre::seccomp
