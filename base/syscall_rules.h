// SPDX-License-Identifier: Apache-2.0
// The tables of system calls that a kind of thread may make, as they are written down. A small program, built from a
// table and base/compile_filters.cc, turns the table into a header with one BPF program for each kind of thread
// (base/syscall_filter.h), or says how many system calls each kind has.
#pragma once

#include <linux/sched.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/syscall_filter.h"

namespace nacre {

// Compares one argument of a system call, counted from 0: (argument & mask) == value.
struct Condition {
  unsigned argument;
  uint64_t mask;
  uint64_t value;
};

// Compares the lower 32 bits, which is all that the kernel looks at if the argument is an int.
constexpr Condition is(unsigned argument, uint32_t value) {
  return {.argument = argument, .mask = UINT32_MAX, .value = value};
}

constexpr Condition is_exactly(unsigned argument, uint64_t value) {
  return {.argument = argument, .mask = UINT64_MAX, .value = value};
}

constexpr Condition has_none_of(unsigned argument, uint64_t bits) {
  return {.argument = argument, .mask = bits, .value = 0};
}

constexpr Condition is_own_process(unsigned argument) {
  return is(argument, kOwnProcess);
}

// One system call that is allowed if all conditions hold. Several rules for one call are alternatives. With `error`,
// the call fails with that errno value and the kernel does nothing: for calls that are made and have to fail.
struct SyscallRule {
  const char* name;
  std::vector<Condition> conditions = {};
  int error = 0;
};

// System calls of the C library in any thread: for memory, locks and abort(3). write(2) is also for lines on stderr and
// for another thread's event.
inline const SyscallRule kCLibraryRules[] = {
    {"brk"},
    {"futex"},
    {"madvise"},
    {"mmap", {has_none_of(2, PROT_EXEC)}},
    {"mprotect", {has_none_of(2, PROT_EXEC)}},
    {"mremap"},
    {"munmap"},
    {"restart_syscall"},
    {"rt_sigprocmask"},
    {"sched_getaffinity"},  // malloc(3) in the ninth thread: how many heaps there may be
    {"write"},
    // The system's clock may be one that cannot be read without the kernel.
    {"clock_gettime"},
    {"getpid"},
    {"gettid"},
    {"tgkill", {is_own_process(0)}},
};

// System calls of pthread_create(3), and of the first steps of the thread that it starts.
inline const SyscallRule kThreadRules[] = {
    {"clone",
     {is_exactly(0, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                        CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)}},
    {"clone3", {}, ENOSYS},  // its flags are out of a filter's reach; the C library goes on to clone
    {"exit"},
    {"rseq"},
    {"set_robust_list"},
};

// What one kind of thread may do. Everything else is forbidden.
struct ThreadRules {
  std::string name;      // "vcpu"
  std::string variable;  // in the generated header: "kVcpuFilter"
  std::vector<std::span<const SyscallRule>> rules;
};

// Each table defines this function.
std::vector<ThreadRules> thread_rules();

}  // namespace nacre
