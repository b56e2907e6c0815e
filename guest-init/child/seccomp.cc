// SPDX-License-Identifier: Apache-2.0
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest-init/child/child.h"

namespace nacre::guest {

Result<void> install_seccomp(const SeccompFilter& filter) {
  sock_fprog program{.len = static_cast<unsigned short>(filter.program.size()),
                     .filter = const_cast<sock_filter*>(filter.program.data())};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter.flags, &program) < 0) {
    return fail_errno("install the seccomp filter");
  }
  return {};
}

}  // namespace nacre::guest
