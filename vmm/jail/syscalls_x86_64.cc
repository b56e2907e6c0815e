// SPDX-License-Identifier: Apache-2.0
// The system calls that each kind of thread of vmm makes once the guest runs, on x86_64. tests/integration/jail_test.py
// tries what is not listed. To find out what a change needs, run the guest with `seccomp = "log"` (docs/security.md).
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>

#include "base/syscall_rules.h"
#include "devices/virtio/net/tap.h"
#include "vmm/arch/x86_64/kvm_lists.h"

namespace nacre {

namespace {

constexpr unsigned kIoctl = 1, kFcntl = 1;  // which argument is the command

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
    {"prctl", {is(0, PR_SET_NAME)}},
    {"prctl", {is(0, PR_SET_PDEATHSIG)}},  // whoever started this vmm may end before those who joined it
    {"rt_sigaction"},
    {"seccomp", {is(0, SECCOMP_SET_MODE_FILTER)}},
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

// Frames go through readv and writev, and the tap is told what the driver has accepted. "read" empties eventfds.
const SyscallRule kNet[] = {
    {"close"},      {"epoll_ctl"},
    {"epoll_wait"}, {"exit"},
    {"read"},       {"readv"},
    {"writev"},     {"ioctl", {is(kIoctl, TUNSETOFFLOAD), has_none_of(2, ~uint64_t{virtio::net::Tap::kOffloadBits})}},
};

const SyscallRule kNodeMaker[] = {
    {"capset"}, {"close"},   {"exit_group"}, {"fstatfs"},  {"mknodat"},
    {"read"},   {"recvmsg"}, {"setfsgid"},   {"setfsuid"}, {"umask"},
};

}  // namespace

std::vector<ThreadRules> thread_rules() {
  return {
      {"main", "kMainFilter", {kCLibraryRules, kThreadRules, kEventLoop, kDevices}},
      {"vcpu", "kVcpuFilter", {kCLibraryRules, kVcpu}},
      {"virtio-fs", "kFileServerFilter", {kCLibraryRules, kEventLoop, kFiles}},
      {"virtio-net", "kNetFilter", {kCLibraryRules, kNet}},
      {"vmm-nodes", "kNodeMakerFilter", {kCLibraryRules, kNodeMaker}},
  };
}

}  // namespace nacre
