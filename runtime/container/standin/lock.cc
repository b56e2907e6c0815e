// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/lock.h"

#include <linux/capability.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <string_view>

#include "base/capabilities.h"
#include "base/syscall_filter.h"
#include "runtime/plan/facts.h"
#include "standin_filters.h"  // compiled from the table of this architecture

namespace nacre::runtime {

namespace {

Result<void> lock(std::span<const sock_filter> filter) {
  // Without this, only the privileged may install a filter. Neither thread executes anything.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("no_new_privs");
  const char* mode = ::getenv(kSeccompVariable);
  bool logs = mode != nullptr && std::string_view(mode) == vmm::kSeccompLog;
  return install_filter(filter, logs ? Forbidden::log : Forbidden::kill);
}

}  // namespace

Result<void> lock_standin() {
  // A capability that this process does not have cannot be kept.
  constexpr uint64_t kForOomSign = capability_bit(CAP_SYS_RESOURCE);  // oom_v1.cc lowers vmm's oom_score_adj
  if (!set_capabilities(kForOomSign)) TRY(set_capabilities(0));
  return lock(kStandInFilter);
}

Result<void> lock_exec() {
  TRY(set_capabilities(0));
  return lock(kExecFilter);
}

Result<void> lock_mount_follower() {
  return lock(kMountFollowerFilter);
}

}  // namespace nacre::runtime
