#include "runtime/lifecycle/create.h"

#include "runtime/cmd/command.h"

namespace nacre::cmd {

Result<void> check_unsupported(const std::string& pidfd_socket, int preserve_fds) {
  if (!pidfd_socket.empty()) return fail("--pidfd-socket: not supported by this version");
  if (preserve_fds != 0) return fail("--preserve-fds: not supported by this version");
  return {};
}

Result<int> create(const Globals& globals, const CreateOptions& options) {
  TRY(check_unsupported(options.pidfd_socket, options.preserve_fds));
  TRY(runtime::create_container({.root = globals.root,
                                 .id = options.id,
                                 .bundle = options.bundle,
                                 .pid_file = options.pid_file,
                                 .console_socket = options.console_socket,
                                 .debug = globals.debug,
                                 .foreground = false,
                                 .held = false}));
  return 0;
}

}  // namespace nacre::cmd
