// SPDX-License-Identifier: Apache-2.0
// The attempts of an attacker who has taken a thread over. The programs that include this lock a thread in first.
#pragma once

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace nacre::testing {

// A process of the same user, in the pid namespace of the machine on which the test runs.
inline constexpr pid_t kSomebody = 2;

struct Attempt {
  const char* name;
  long (*run)();
};

inline constexpr Attempt kAttempts[] = {
    // Two that are allowed show that an attempt runs and is heard of.
    {"own-id", [] { return ::syscall(SYS_gettid); }},
    {"signal-itself", [] { return ::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0); }},
    {"open-to-write", [] { return ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_WRONLY); }},
    {"leave-the-jail", [] { return ::syscall(SYS_openat, AT_FDCWD, "../../../../etc", O_RDONLY | O_DIRECTORY); }},
    {"memory-of-others", [] { return ::syscall(SYS_openat, AT_FDCWD, "/proc/1/mem", O_RDWR); }},
    {"open-by-handle",
     [] {
       std::array<unsigned char, 64> handle{};
       return ::syscall(SYS_open_by_handle_at, AT_FDCWD, handle.data(), O_RDONLY);
     }},
    {"kill", [] { return ::syscall(SYS_kill, kSomebody, SIGKILL); }},
    {"tgkill", [] { return ::syscall(SYS_tgkill, kSomebody, kSomebody, SIGKILL); }},
    {"pidfd", [] { return ::syscall(SYS_pidfd_open, kSomebody, 0); }},
    {"ptrace", [] { return ::syscall(SYS_ptrace, PTRACE_ATTACH, kSomebody, nullptr, nullptr); }},
    {"read-memory", [] { return ::syscall(SYS_process_vm_readv, kSomebody, nullptr, 0, nullptr, 0, 0); }},
    {"limits", [] { return ::syscall(SYS_prlimit64, kSomebody, 7, nullptr, nullptr); }},
    {"unix-socket", [] { return ::syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); }},
    {"internet-socket", [] { return ::syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
    {"mount", [] { return ::syscall(SYS_mount, "none", "/fs", "tmpfs", 0, nullptr); }},
    {"open-tree", [] { return ::syscall(SYS_open_tree, AT_FDCWD, "/", 0); }},
    {"unshare", [] { return ::syscall(SYS_unshare, CLONE_NEWUSER); }},
    {"setns", [] { return ::syscall(SYS_setns, 0, 0); }},
    {"chroot", [] { return ::syscall(SYS_chroot, "/fs"); }},
    {"clone-process", [] { return ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0); }},
    {"clone-namespace", [] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0); }},
    {"execute",
     [] {
       std::array<char*, 1> none{};
       return ::syscall(SYS_execve, "/bin/sh", none.data(), none.data());
     }},
    {"new-code",
     [] { return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
    {"changed-code", [] { return ::syscall(SYS_mprotect, nullptr, 4096, PROT_READ | PROT_EXEC); }},
    {"io-uring",
     [] {
       io_uring_params parameters{};
       return ::syscall(SYS_io_uring_setup, 1, &parameters);
     }},
    {"bpf", [] { return ::syscall(SYS_bpf, BPF_MAP_CREATE, nullptr, 0); }},
    {"perf", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
    {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }},
    {"keys", [] { return ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0); }},
    {"set-uid", [] { return ::syscall(SYS_setresuid, 0, 0, 0); }},
    {"type-into-terminal", [] { return ::syscall(SYS_ioctl, 0, TIOCSTI, "x"); }},
    {"new-vm", [] { return ::syscall(SYS_ioctl, 0, KVM_CREATE_VM, 0); }},
    {"other-offloads", [] { return ::syscall(SYS_ioctl, 0, TUNSETOFFLOAD, 0x10); }},
    {"another-tap", [] { return ::syscall(SYS_ioctl, 0, TUNSETIFF, nullptr); }},
    {"device-node", [] { return ::syscall(SYS_mknodat, AT_FDCWD, "/disk", S_IFBLK | 0600, makedev(8, 0)); }},
    {"other-architecture",
     [] {
       long result = 20;  // getpid of a 32-bit program
       asm volatile("int $0x80" : "+a"(result) : : "memory");
       return result < 0 ? (errno = static_cast<int>(-result), -1) : result;
     }},
};

}  // namespace nacre::testing
