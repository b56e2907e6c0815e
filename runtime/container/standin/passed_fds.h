// SPDX-License-Identifier: Apache-2.0
// Descriptors of the caller that the container's process is to have under the same numbers: --preserve-fds and
// systemd's socket activation (sd_listen_fds(3)).
//
// What lies behind them stays on the host; the process has a pipe or a socket whose bytes are carried.
#pragma once

#include <vector>

#include "base/result.h"

namespace nacre::runtime {

struct PassedFd {
  int fd = -1;
  bool readable = false, writable = false;  // from the process's side
};

// Takes the descriptors of LISTEN_FDS, if that is meant for this process, and `preserve` more, from 3 on. They are no
// longer among those that close_inherited_fds() closes. An error names a descriptor that is not open, or that cannot be
// carried: only files, pipes, terminals and connected stream sockets can.
struct PassedFds {
  std::vector<PassedFd> fds;
  int listen = 0;  // how many of them are LISTEN_FDS
};
Result<PassedFds> take_passed_fds(int preserve);

// Closes the descriptors, once others have them.
void close_passed_fds(const std::vector<PassedFd>& fds);

}  // namespace nacre::runtime
