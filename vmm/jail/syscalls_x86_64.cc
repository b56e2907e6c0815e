// SPDX-License-Identifier: Apache-2.0
// The system calls that each kind of thread of vmm makes once the guest runs, on x86_64. tests/integration/jail_test.py
// tries what is not listed. To find out what a change needs, run the guest with `seccomp = "log"` (docs/security.md).
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>

#include "base/syscall_rules.h"
#include "vmm/arch/x86_64/kvm_lists.h"

namespace nacre {

namespace {

// What pthread_create(3) passes to clone(2).
constexpr uint64_t kNewThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

constexpr unsigned kIoctl = 1, kFcntl = 1;  // which argument is the command

// The C library's memory, locks and ends of threads, and an event to another thread or a line to stderr.
const SyscallRule kEvery[] = {
    {"brk"},
    {"futex"},
    {"madvise"},
    {"mmap", {has_none_of(2, PROT_EXEC)}},
    {"mprotect", {has_none_of(2, PROT_EXEC)}},
    {"mremap"},
    {"munmap"},
    {"restart_syscall"},
    {"rt_sigprocmask"},
    {"write"},
    // The system's clock may be one that cannot be read without the kernel.
    {"clock_gettime"},
    // abort(3)
    {"getpid"},
    {"gettid"},
    {"tgkill", {is_own_process(0)}},
};

const SyscallRule kVcpu[] = {
    {"exit"},         {"ioctl", {is(kIoctl, KVM_RUN)}}, {"poll"},  // whether the console's output has room
    {"read"},                                                      // events of a queue that the guest resets
    {"rt_sigreturn"},
};

const SyscallRule kEventLoop[] = {
    {"close"}, {"epoll_ctl"}, {"epoll_wait"}, {"read"}, {"timerfd_settime"},
};

const SyscallRule kDevices[] = {
    {"accept4"},
    {"exit_group"},
    {"fcntl", {is(kFcntl, F_GETFL)}},
    {"fcntl", {is(kFcntl, F_DUPFD_CLOEXEC)}},
    {"newfstatat", {is(3, AT_EMPTY_PATH)}},
    {"poll"},
    {"preadv2"},
    {"pwritev2"},
    {"readv"},
    {"recvmsg"},
    {"rt_sigreturn"},
    {"sendmsg"},
    {"sendto"},
    {"shutdown"},
    {"writev"},
    // The console's terminal.
    {"ioctl", {is(kIoctl, TCGETS)}},
    {"ioctl", {is(kIoctl, TCSETS)}},
    {"ioctl", {is(kIoctl, TIOCGPTN)}},
    // The guest's memory grows and shrinks.
    {"ioctl", {is(kIoctl, KVM_SET_USER_MEMORY_REGION)}},
    // A CPU is added: the CPU itself, then its thread up to the thread's own filter. Threads have the filter of the one
    // that starts them, so KVM_RUN is here too.
    {"ioctl", {is(kIoctl, KVM_CREATE_VCPU)}},
    {"ioctl", {is(kIoctl, KVM_GET_LAPIC)}},
    {"ioctl", {is(kIoctl, vmm::x86_64::kSetCpuid2)}},
    {"ioctl", {is(kIoctl, KVM_SET_LAPIC)}},
    {"ioctl", {is(kIoctl, vmm::x86_64::kSetMsrs)}},
    {"ioctl", {is(kIoctl, KVM_RUN)}},
    {"capset"},
    {"clone", {is_exactly(0, kNewThread)}},
    {"clone3", {}, ENOSYS},  // its flags are out of a filter's reach; the C library goes on to clone
    {"exit"},
    {"prctl", {is(0, PR_SET_NAME)}},
    {"prctl", {is(0, PR_SET_PDEATHSIG)}},  // whoever started this vmm may end before those who joined it
    {"rseq"},
    {"rt_sigaction"},
    {"seccomp", {is(0, SECCOMP_SET_MODE_FILTER)}},
    {"set_robust_list"},
    // Calls that have nothing to find in the jail.
    {"openat", {}, ENOENT},
    {"socket", {}, EACCES},
    {"unlink", {}, ENOENT},
};

const SyscallRule kFiles[] = {
    {"exit"},
    {"capset"},
    {"copy_file_range"},
    {"fallocate"},
    {"chmod"},
    {"fchownat"},
    {"fcntl", {is(kFcntl, F_DUPFD_CLOEXEC)}},
    {"fcntl", {is(kFcntl, F_OFD_GETLK)}},
    {"fcntl", {is(kFcntl, F_OFD_SETLK)}},
    {"fdatasync"},
    {"flock"},
    {"fstatfs"},
    {"fsync"},
    {"ftruncate"},
    {"getdents64"},
    {"getxattr"},
    {"linkat"},
    {"listxattr"},
    {"lseek"},
    {"mkdirat"},
    {"mknodat"},
    {"newfstatat"},
    {"openat"},
    {"preadv"},
    {"pwritev2"},
    {"readlinkat"},
    {"removexattr"},
    {"renameat"},
    {"renameat2"},
    {"setfsgid"},
    {"setfsuid"},
    {"setxattr"},
    {"statx"},
    {"symlinkat"},
    {"syncfs"},
    {"umask"},
    {"unlinkat"},
    {"utimensat"},
    // Requests to vmm-nodes.
    {"sendmsg"},
};

const SyscallRule kNodeMaker[] = {
    {"capset"}, {"close"},   {"exit_group"}, {"fstatfs"},  {"mknodat"},
    {"read"},   {"recvmsg"}, {"setfsgid"},   {"setfsuid"}, {"umask"},
};

}  // namespace

std::vector<ThreadRules> thread_rules() {
  return {
      {"main", "kMainFilter", {kEvery, kEventLoop, kDevices}},
      {"vcpu", "kVcpuFilter", {kEvery, kVcpu}},
      {"virtio-fs", "kFileServerFilter", {kEvery, kEventLoop, kFiles}},
      {"vmm-nodes", "kNodeMakerFilter", {kEvery, kNodeMaker}},
  };
}

}  // namespace nacre
