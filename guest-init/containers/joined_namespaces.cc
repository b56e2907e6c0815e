// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/joined_namespaces.h"

#include <sched.h>

namespace nacre::guest {

Result<void> enter_namespaces(const std::vector<NamespaceJoin>& joins) {
  constexpr uint64_t kUsers = CLONE_NEWUSER, kNotHere = CLONE_NEWNS;
  // The user namespace comes last. A namespace belongs to the user namespace of its maker, and root of another has no
  // rights over it.
  for (uint64_t mask : {~(kNotHere | kUsers), kUsers}) {
    for (const NamespaceJoin& join : joins) {
      uint64_t flags = join.flags & mask;
      if (flags != 0 && ::setns(join.pidfd, static_cast<int>(flags)) < 0) {
        return fail_errno("join another container's namespaces");
      }
    }
  }
  return {};
}

}  // namespace nacre::guest
