// SPDX-License-Identifier: Apache-2.0
// Tells which rights this process has in its user namespace, and makes user namespaces (user_namespaces(7)).
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

// Returns whether this process is the host's root. uid 0 in another user namespace than the host's does not count.
bool is_host_root();

// Returns whether this process lacks CAP_SYS_ADMIN, which namespaces and mounts take.
bool is_unprivileged();

// Enters a new user namespace, in which a user without privilege keeps his ids and has every capability. Programs that
// this process executes have them too. Single-threaded callers only.
Result<void> enter_own_user_namespace();

// The lines for /proc/PID/uid_map and gid_map of a user namespace below ours that has all of our ids under the same
// numbers.
struct IdMaps {
  std::string uids, gids;
};
// `proc` is an O_PATH directory of a /proc, which need not be mounted in our mount namespace.
Result<IdMaps> identity_maps(const Fd& proc);
// Takes "INSIDE OUTSIDE COUNT" lines, as the kernel shows them, and returns them with INSIDE for both.
std::string to_identity(const std::string& map);

}  // namespace nacre
