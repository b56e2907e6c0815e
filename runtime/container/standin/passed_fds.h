// Descriptors of the caller that the container's process is to have under the same numbers: --preserve-fds and
// systemd's socket activation (sd_listen_fds(3)).
//
// What lies behind them stays on the host; the process has a pipe or a socket whose bytes are carried.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

struct PassedFd {
  int fd = -1;
  bool readable = false, writable = false;  // by the process
};

// Those of LISTEN_FDS, if that is meant for us, and `preserve` more, from 3 on. They are no longer among the ones that
// close_inherited_fds() closes. An error names the one that is not there, or cannot be carried: only files, pipes,
// terminals and connected stream sockets can.
struct PassedFds {
  std::vector<PassedFd> fds;
  int listen = 0;  // how many of them are LISTEN_FDS
};
Result<PassedFds> take_passed_fds(int preserve);

// LISTEN_FDS and LISTEN_PID as the process has to find them.
void tell_process(nlohmann::json& process, const PassedFds& passed);

// When others have them.
void close_passed_fds(const std::vector<PassedFd>& fds);

}  // namespace nacre::runtime
