// SPDX-License-Identifier: Apache-2.0
#include "base/syscall_filter.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

namespace nacre {

Result<void> install_filter(std::span<const sock_filter> program, Forbidden forbidden) {
  std::vector<sock_filter> filter(program.begin(), program.end());
  auto self = static_cast<uint32_t>(::getpid());
  for (sock_filter& instruction : filter) {
    bool is_return = BPF_CLASS(instruction.code) == BPF_RET;
    bool is_jump = BPF_CLASS(instruction.code) == BPF_JMP;
    if (is_jump && instruction.k == kOwnProcess) instruction.k = self;
    if (is_return && instruction.k == SECCOMP_RET_KILL_PROCESS && forbidden == Forbidden::log) {
      instruction.k = SECCOMP_RET_LOG;
    }
  }
  sock_fprog whole{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) < 0) return fail_errno("seccomp");
  return {};
}

}  // namespace nacre
