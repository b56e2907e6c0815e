// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "runtime/container/standin/session.h"

namespace nacre::runtime {

Result<Fd> take_signals() {
  sigset_t all;
  ::sigfillset(&all);
  if (::sigprocmask(SIG_SETMASK, &all, nullptr) < 0) return fail_errno("sigprocmask");
  Fd fd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("signalfd");
  return fd;
}

std::optional<Signal> read_signal(int signal_fd) {
  signalfd_siginfo info;
  if (::read(signal_fd, &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  Signal signal{.number = static_cast<int>(info.ssi_signo), .from_kernel = info.ssi_code > 0};
  if (signal.number == SIGCHLD && signal.from_kernel) return std::nullopt;  // from a child of this process
  return signal;
}

bool ends_process(int signal) {
  switch (signal) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return false;
    default:
      return signal > 0 && signal <= SIGRTMAX;
  }
}

void end_like(const ProcessExit& exit) {
  if (exit.signal != 0) {
    // No core dump: it would show the stand-in, not the container's process.
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::prctl(PR_SET_DUMPABLE, 0);
    ::signal(exit.signal, SIG_DFL);
    ::kill(::getpid(), exit.signal);
    sigset_t only;
    ::sigemptyset(&only);
    ::sigaddset(&only, exit.signal);
    ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
    ::_exit(128 + exit.signal);  // still here: the C library reserves two signals
  }
  ::_exit(exit.status);
}

}  // namespace nacre::runtime
