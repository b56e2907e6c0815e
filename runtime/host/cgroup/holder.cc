// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/holder.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace nacre::runtime {

Result<Holder> Holder::start() {
  pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid > 0) return Holder(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  while (::getppid() == parent) ::pause();
  ::_exit(0);
}

Holder::~Holder() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace nacre::runtime
