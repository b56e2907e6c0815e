// SPDX-License-Identifier: Apache-2.0
#include <linux/seccomp.h>

#include <bit>

#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

constexpr uint32_t kKnownFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW;

}  // namespace

Result<SeccompFilter> parse_seccomp(const protocol::SeccompProgram& seccomp) {
  if (seccomp.flags & ~kKnownFlags) return fail("seccomp.flags has unknown flags", EINVAL);
  // The kernel checks what the instructions say.
  if (seccomp.program.empty() || seccomp.program.size() > BPF_MAXINSNS) {
    return fail("seccomp.program does not have 1 to " + std::to_string(BPF_MAXINSNS) + " instructions", EINVAL);
  }
  SeccompFilter filter;
  filter.flags = seccomp.flags;
  for (uint64_t instruction : seccomp.program) filter.program.push_back(std::bit_cast<sock_filter>(instruction));
  return filter;
}

}  // namespace nacre::guest
