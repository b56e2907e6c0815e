// SPDX-License-Identifier: Apache-2.0
// Starts other programs, and tells how they ended.
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
  std::string path;               // PATH is not searched
  std::vector<std::string> args;  // args[0] included
  // "NAME=value"; nullopt: the parent's environment.
  std::optional<std::vector<std::string>> environment;
  // Pairs of the parent's descriptor and its number in the child. The child gets these and no others, whatever their
  // close-on-exec flags say.
  std::vector<std::pair<int, int>> fds;
  // The signal that the child gets when the calling thread ends; 0: none. The kernel forgets the signal if the child
  // changes its user.
  int death_signal = 0;
  bool new_session = false;  // setsid(2): the child gets no signals of the parent's terminal
  // The child is the first process of a pid namespace: it sees and signals none of the host's processes, and its own
  // children end with it. Takes CAP_SYS_ADMIN.
  bool new_pid_namespace = false;
};

struct Child {
  pid_t pid = -1;
  Fd pidfd;
};

// Starts a program with an empty signal mask and default handlers. If execve fails, returns the child's error.
Result<Child> spawn(const SpawnOptions& options);

// How a process ended: by `signal` if that is not 0, otherwise by exit(2) with `status`.
struct ProcessExit {
  int status = 0;
  int signal = 0;
};

// Wait for the end of a child and reap the child.
Result<ProcessExit> wait_for(const Child& child);
Result<ProcessExit> wait_for(pid_t pid);

// Call pidfd_open(2) and pidfd_send_signal(2). glibc 2.36 has these, the guest's C library may not.
Result<Fd> open_pidfd(pid_t pid);
Result<void> signal_pidfd(int pidfd, int signal);

}  // namespace nacre
