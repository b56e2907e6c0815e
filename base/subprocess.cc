// SPDX-License-Identifier: Apache-2.0
#include "base/subprocess.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

namespace nacre {

namespace {

// Tells the child what to become. The child shares our memory, so it may call async-signal-safe functions only.
struct ChildPlan {
  const char* path;
  char* const* args;
  char* const* environment;
  const std::vector<std::pair<int, int>>* fds;
  unsigned first_closed;  // descriptors from here on are closed
  int death_signal;
  bool new_session;
  pid_t parent;   // as the child sees it
  int error = 0;  // of the child
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

// Returns the errno of the step that failed. Does not return after success.
int become(const ChildPlan& plan) {
  if (plan.death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, plan.death_signal) < 0) return errno;
    // The parent may have ended before the call.
    if (::getppid() != plan.parent) ::_exit(127);
  }
  if (plan.new_session && ::setsid() < 0) return errno;
  for (auto [from, to] : *plan.fds) {
    if (::dup2(from, to) < 0) return errno;
  }
  // Descriptors below first_closed that no pair names are closed one by one: the range is a handful.
  for (int fd = 0; fd < static_cast<int>(plan.first_closed); fd++) {
    if (std::ranges::none_of(*plan.fds, [fd](const auto& pair) { return pair.second == fd; })) ::close(fd);
  }
  if (::syscall(SYS_close_range, plan.first_closed, ~0u, CLOSE_RANGE_CLOEXEC) < 0) return errno;
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; signal++) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.path, plan.args, plan.environment);
  return errno;
}

int run_child(void* argument) {
  auto* plan = static_cast<ChildPlan*>(argument);
  plan->error = become(*plan);
  ::_exit(127);
}

// Makes the child, which shares our memory, on a stack of its own. Returns when the child has called execve(2) or
// ended; a negative pid means that errno says why there is no child. Unlike vfork(2), clone(2) can put the child into a
// new pid namespace, and needs no privilege over ours for that. It also opens the pidfd: if there is no descriptor left
// for that, there is no child.
Child run_until_execve(ChildPlan& plan, bool new_pid_namespace) {
  constexpr size_t kStackSize = 64 << 10;
  auto stack = std::make_unique_for_overwrite<std::byte[]>(kStackSize);
  int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | (new_pid_namespace ? CLONE_NEWPID : 0);
  int pidfd = -1;
  Child child;
  child.pid = ::clone(run_child, stack.get() + kStackSize, flags, &plan, &pidfd);
  if (child.pid >= 0) child.pidfd = Fd(pidfd);
  return child;
}

ProcessExit from_siginfo(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.status = info.si_status, .signal = 0};
  return {.status = 0, .signal = info.si_status};
}

Result<ProcessExit> wait_id(idtype_t type, id_t id) {
  siginfo_t info{};
  while (::waitid(type, id, &info, WEXITED) < 0) {
    if (errno != EINTR) return fail_errno("waitid");
  }
  return from_siginfo(info);
}

}  // namespace

Result<Child> spawn(const SpawnOptions& options) {
  // Copies above every target, so that no dup2 in the child overwrites a source that is still needed.
  int highest = 2;
  for (auto [from, to] : options.fds) highest = std::max(highest, to);
  std::vector<Fd> copies;
  std::vector<std::pair<int, int>> fds;
  for (auto [from, to] : options.fds) {
    Fd copy(::fcntl(from, F_DUPFD_CLOEXEC, highest + 1));
    if (!copy) return fail_errno("dup for " + options.path);
    fds.emplace_back(copy.get(), to);
    copies.push_back(std::move(copy));
  }
  std::vector<char*> args = pointers(options.args);
  std::vector<char*> environment;
  if (options.environment) environment = pointers(*options.environment);
  ChildPlan plan{.path = options.path.c_str(),
                 .args = args.data(),
                 .environment = options.environment ? environment.data() : environ,
                 .fds = &fds,
                 .first_closed = static_cast<unsigned>(highest) + 1,
                 .death_signal = options.death_signal,
                 .new_session = options.new_session,
                 .parent = options.new_pid_namespace ? 0 : ::getpid()};
  // No handler of ours may run in the child, which shares our memory.
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  Child child = run_until_execve(plan, options.new_pid_namespace);
  int error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child.pid < 0) return fail_errno("clone", error);
  if (plan.error != 0) {
    (void)wait_for(child.pid);
    return fail_errno(options.path, plan.error);
  }
  return child;
}

Result<ProcessExit> wait_for(const Child& child) {
  return wait_for(child.pid);
}

Result<ProcessExit> wait_for(pid_t pid) {
  return wait_id(P_PID, static_cast<id_t>(pid));
}

Result<Fd> open_pidfd(pid_t pid) {
  long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return fail_errno("pidfd_open");
  return Fd(static_cast<int>(fd));
}

Result<void> signal_pidfd(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0) return fail_errno("pidfd_send_signal");
  return {};
}

}  // namespace nacre
