// SPDX-License-Identifier: Apache-2.0
// Filters of system calls for the calling thread (seccomp(2)). The programs are compiled when Nacre is built
// (base/syscall_rules.h), so that installing one costs a single system call.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>

#include "base/result.h"

namespace nacre {

// What the kernel does about a system call that a filter does not allow. It writes a line to its own log in both cases,
// which names the thread and the number of the call ("type=1326 ... comm=... syscall=...").
enum class Forbidden {
  kill,  // ends the process with SIGSYS
  log,   // lets the call through: to find out what a filter has to allow
};

// In the programs this number stands for the id of the process, which nobody knows before.
constexpr uint32_t kOwnProcess = 0x4f574e50;  // more than any process id: pid_max is at most 2^22

// Installs the filter for the calling thread and for those that it starts afterwards. Nothing removes it. Takes
// no_new_privs or CAP_SYS_ADMIN.
Result<void> install_filter(std::span<const sock_filter> program, Forbidden forbidden);

}  // namespace nacre
