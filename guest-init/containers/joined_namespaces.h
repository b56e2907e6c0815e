// SPDX-License-Identifier: Apache-2.0
// Namespaces of other containers of this machine that a new container is to be in.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace nacre::guest {

// The namespaces of one type, or more, of a living process.
struct NamespaceJoin {
  uint64_t flags = 0;  // CLONE_NEW*
  int pidfd = -1;      // of the container's first process; not owned
};

// Moves the calling process, which has one thread, into the namespaces; for pid and time, its future children. Leaves
// out mount namespaces: a container's process joins those itself, once it needs nothing more of guest-init's mounts.
Result<void> enter_namespaces(const std::vector<NamespaceJoin>& joins);

}  // namespace nacre::guest
