// Starting other programs, and learning how they ended.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

struct SpawnOptions {
  std::string path;               // a path: nothing is searched in PATH
  std::vector<std::string> args;  // args[0] included
  // "NAME=value"; none: the parent's environment.
  std::optional<std::vector<std::string>> environment;
  // The parent's descriptor and the number that the child knows it by. The child gets these and no others, whatever
  // their close-on-exec flags say.
  std::vector<std::pair<int, int>> fds;
  // The signal that the child gets when the calling thread ends; 0: none. The kernel forgets it when the child changes
  // its user.
  int death_signal = 0;
  bool new_session = false;  // setsid(2): signals of the parent's terminal are not for the child
};

struct Child {
  pid_t pid = -1;
  Fd pidfd;
};

// The child runs with an empty signal mask and default handlers. The error is the child's own where execve failed.
Result<Child> spawn(const SpawnOptions& options);

// How a process ended: by exit(2) with `status`, or by `signal` when that is not 0.
struct ProcessExit {
  int status = 0;
  int signal = 0;
};

// Waits for a child's end and reaps it.
Result<ProcessExit> wait_for(const Child& child);
Result<ProcessExit> wait_for(pid_t pid);

// pidfd_open(2), pidfd_send_signal(2): glibc 2.36 has them, the guest's C library may not.
Result<Fd> open_pidfd(pid_t pid);
Result<void> signal_pidfd(int pidfd, int signal);

}  // namespace nacre
