// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/pidfd_socket.h"

#include <array>
#include <span>

#include "base/fd.h"
#include "base/subprocess.h"
#include "runtime/guest/connection.h"

namespace nacre::runtime {

Result<void> send_pidfd(const std::string& path, pid_t pid, std::string_view name) {
  if (path.empty()) return {};
  Fd socket = TRY_CONTEXT(connect_to(path), "--pidfd-socket");
  Fd pidfd = TRY_CONTEXT(open_pidfd(pid), "--pidfd-socket");
  return send_with_fds(socket.get(), std::as_bytes(std::span(name)), std::array{pidfd.get()});
}

}  // namespace nacre::runtime
