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
Fd open_directory(const std::string& path);  // O_PATH; invalid if the directory does not exist

// Fails if vm.panic_on_oom is 2, because any such kill would panic the host.
Result<void> check_no_panic(int proc);

// Prepares the calling process to be killed: it ends with its parent, and replaces an inherited protection
// (oom_score_adj) that an engine may have set. Returns false on a failure.
bool become_victim(int proc);

}  // namespace nacre::runtime
