// What we are, by our user namespace (user_namespaces(7)).
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

// Root, and of the host: with uid 0 in a user namespace that is not the host's one is some user.
bool is_host_root();

// Without the capabilities that namespaces and mounts take (CAP_SYS_ADMIN).
bool is_unprivileged();

// For a user without privilege: into a user namespace of his own, where he keeps his ids and has every capability, as
// have the programs that he executes. Single-threaded callers only.
Result<void> enter_own_user_namespace();

// The lines for /proc/PID/uid_map and gid_map of a user namespace below ours that has all of our ids, under the same
// numbers.
struct IdMaps {
  std::string uids, gids;
};
Result<IdMaps> identity_maps(const Fd& proc);  // an O_PATH directory of /proc, which need not be mounted for us
// "INSIDE OUTSIDE COUNT" lines, as the kernel shows them, with INSIDE for both.
std::string to_identity(const std::string& map);

}  // namespace nacre
