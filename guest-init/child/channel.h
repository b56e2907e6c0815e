// SPDX-License-Identifier: Apache-2.0
// The socket pair between guest-init and a child that is not executing its program yet. Messages (SOCK_SEQPACKET):
//   child: terminal    carries the descriptor of its terminal's master; before "ready"
//   child: ready       set up; waits for the word to go on
//   child: error       a step failed; the child exits
//   parent: one byte   go on
// The child uses read(2) and write(2), which every seccomp filter lets through; it may be under one already.
// The child's end closes on execve: an end of file after "ready" and the byte means that the program runs.
#pragma once

#include <optional>

#include "base/fd.h"
#include "base/result.h"

namespace nacre::guest {

struct ChildMessage {
  bool ready = false;
  bool end = false;            // the child has executed its program, or is gone
  std::optional<Error> error;  // neither of these: it has failed
  Fd terminal;                 // or: the master of the process's terminal
};

Result<void> report_terminal(int control, int master);
void report_ready(int control);
void report_error(int control, const Error& error);
// Waits for the byte; returns false if guest-init has given up this child.
bool wait_for_go(int control);

bool send_go(int control);
// Returns the next message; nothing if there is none yet.
std::optional<ChildMessage> receive_child_message(int control);

}  // namespace nacre::guest
