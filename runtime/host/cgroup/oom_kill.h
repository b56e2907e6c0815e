// What both ways of showing an out-of-memory kill use (oom.h).
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

// The victims do not outlive it.
inline constexpr int kOomPatienceMs = 2'000;

Result<void> write_at(int directory, const std::string& name, std::string_view text);
Fd open_directory(const std::string& path);  // O_PATH; none if it is not there

// With vm.panic_on_oom=2 any such kill panics the host.
Result<void> check_no_panic(int proc);

// For the process that is to be killed: it goes with us, and has no protection of an engine's, inherited. False if it
// cannot.
bool become_victim(int proc);

}  // namespace nacre::runtime
