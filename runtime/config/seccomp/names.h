// SPDX-License-Identifier: Apache-2.0
// The words of linux.seccomp in config.json and what they are to libseccomp and the kernel: config-linux.md, "Seccomp".
// What is listed here is what this version can do; `features` prints these lists.
#pragma once

#include <linux/seccomp.h>
#include <seccomp.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace nacre::seccomp {

struct Word {
  std::string_view name;
  uint32_t value;
};

// SCMP_ACT_ERRNO and SCMP_ACT_TRACE carry a number in their low 16 bits.
inline constexpr std::array kActions = {
    Word{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
    Word{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0)},
    Word{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
    Word{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
    Word{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
    Word{"SCMP_ACT_LOG", SCMP_ACT_LOG},
    Word{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0)},
    Word{"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
};
inline constexpr std::string_view kNotifyAction = "SCMP_ACT_NOTIFY";  // known, not supported

inline constexpr std::array kOperators = {
    Word{"SCMP_CMP_EQ", SCMP_CMP_EQ}, Word{"SCMP_CMP_GE", SCMP_CMP_GE}, Word{"SCMP_CMP_GT", SCMP_CMP_GT},
    Word{"SCMP_CMP_LE", SCMP_CMP_LE}, Word{"SCMP_CMP_LT", SCMP_CMP_LT}, Word{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    Word{"SCMP_CMP_NE", SCMP_CMP_NE},
};

inline constexpr std::array kArchitectures = {
    Word{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
    Word{"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
    Word{"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    Word{"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
    Word{"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
    Word{"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
    Word{"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    Word{"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
    Word{"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
    Word{"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
    Word{"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
    Word{"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
    Word{"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    Word{"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64},
    Word{"SCMP_ARCH_S390", SCMP_ARCH_S390},
    Word{"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    Word{"SCMP_ARCH_X32", SCMP_ARCH_X32},
    Word{"SCMP_ARCH_X86", SCMP_ARCH_X86},
    Word{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
};

// seccomp(2)'s flags.
inline constexpr std::array kFlags = {
    Word{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    Word{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    Word{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
};
// Known, and refused by the kernel without a listener, which only SCMP_ACT_NOTIFY has.
inline constexpr std::string_view kWaitKillableFlag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

constexpr const Word* find_word(std::span<const Word> words, std::string_view name) {
  for (const Word& word : words) {
    if (word.name == name) return &word;
  }
  return nullptr;
}

}  // namespace nacre::seccomp
