// SPDX-License-Identifier: Apache-2.0
// Helpers of both ways of showing an out-of-memory kill (oom.h).
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/host/cgroup/oom.h"

namespace nacre::runtime {

std::unique_ptr<OomKill> oom_kill_v1(const std::string& cgroup, pid_t vmm);
std::unique_ptr<OomKill> oom_kill_v2(const std::string& cgroup);

// Milliseconds after which the victims end, if the kernel has not killed them.
inline constexpr int kOomPatienceMs = 2'000;

Result<void> write_at(int directory, const std::string& name, std::string_view text);
// Opens a directory, for its path alone and if possible on a detached mount: then nothing above the directory can be
// reached through the descriptor, once the host's mounts are out of reach. Invalid if there is no such directory.
Fd open_directory(const std::string& path);

// Fails if vm.panic_on_oom is 2, because any such kill would panic the host. Reads the file of that name, which is
// open.
Result<void> check_no_panic(const Fd& panic_on_oom);
Fd open_panic_on_oom();

// Prepares the calling process to be killed: it ends with its parent, and has a name for the host's kernel log.
void become_victim();

}  // namespace nacre::runtime
