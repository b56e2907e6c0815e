// SPDX-License-Identifier: Apache-2.0
// The system calls that each kind of thread of a stand-in makes once the container is there, on x86_64. To find out
// what a change needs, run a container with NACRE_SECCOMP=log (docs/security.md).
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <csignal>

#include "base/syscall_rules.h"

namespace nacre {

namespace {

// The flags that fork(3) passes to clone(2).
constexpr uint64_t kFork = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;

// Requests to the guest and to vmm, over sockets in the container's directory.
const SyscallRule kRequests[] = {
    {"close"},    {"connect"},
    {"fcntl"},    {"poll"},
    {"read"},     {"recvfrom"},
    {"recvmsg"},  {"sendmsg"},
    {"sendto"},   {"setsockopt", {is(1, SOL_SOCKET)}},
    {"shutdown"}, {"socket", {is(0, AF_UNIX)}},
};

// The session: signals, the terminal's window, how the container ended.
const SyscallRule kSession[] = {
    {"exit_group"},
    {"ioctl", {is(1, TIOCGWINSZ)}},
    {"kill", {is_own_process(0)}},  // ends as the container's process ended
    {"lseek"},
    {"newfstatat"},
    {"openat"},
    {"prctl", {is(0, PR_SET_DUMPABLE)}},
    {"prlimit64", {is(0, 0)}},  // of this process
    {"rt_sigaction"},
    {"rt_sigreturn"},
};

// The VM, which is the stand-in's child.
const SyscallRule kVm[] = {
    {"pidfd_send_signal"},
    {"waitid"},
};

// A process of `exec` restores the caller's terminal.
const SyscallRule kExec[] = {
    {"ioctl", {is(1, TCGETS)}},
    {"ioctl", {is(1, TCSETS)}},
};

// An out-of-memory kill that the host's engines see (runtime/host/cgroup/oom_v2.cc, oom_v1.cc).
const SyscallRule kOomSign[] = {
    {"alarm"},
    {"clock_nanosleep"},
    {"clone", {is_exactly(0, kFork)}},
    {"clone", {is_exactly(0, CLONE_VM | CLONE_PARENT | SIGCHLD)}},
    {"faccessat"},
    {"faccessat2"},
    {"mkdirat"},
    {"pipe2"},
    {"prctl", {is(0, PR_SET_PDEATHSIG)}},
    {"prctl", {is(0, PR_SET_NAME)}},
    {"pread64"},
    {"setpgid"},
    {"unlinkat"},
    {"wait4"},
};

// The container's /proc on the host. Its threads are started when somebody looks into it.
const SyscallRule kProcServer[] = {
    {"eventfd2"},
    {"fchdir"},
    {"unshare", {is(0, CLONE_FS)}},
    {"writev"},
};

const SyscallRule kMountFollower[] = {
    {"clock_nanosleep"},
    {"exit"},
    {"lseek"},
    {"mount_setattr"},
    {"newfstatat"},
    {"open_tree"},
    {"openat"},
    {"setns", {is(1, CLONE_NEWNS)}},
    {"statmount"},
    {"statx"},
    {"unshare", {is(0, CLONE_FS)}},
};

}  // namespace

std::vector<ThreadRules> thread_rules() {
  return {
      {"stand-in", "kStandInFilter", {kCLibraryRules, kThreadRules, kRequests, kSession, kVm, kOomSign, kProcServer}},
      {"exec", "kExecFilter", {kCLibraryRules, kThreadRules, kRequests, kSession, kExec}},
      {"mounts", "kMountFollowerFilter", {kCLibraryRules, kRequests, kMountFollower}},
  };
}

}  // namespace nacre
