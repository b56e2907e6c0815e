#include "runtime/container/create.h"

#include "runtime/cmd/command.h"

namespace nacre::cmd {

Result<int> create(const Globals& globals, const CreateOptions& options) {
  TRY(runtime::create_container({.root = globals.root,
                                 .id = options.id,
                                 .bundle = options.bundle,
                                 .config = options.config,
                                 .pid_file = options.pid_file,
                                 .console_socket = options.console_socket,
                                 .pidfd_socket = options.pidfd_socket,
                                 .debug = globals.debug,
                                 .systemd_cgroup = globals.systemd_cgroup,
                                 .foreground = false,
                                 .preserve_fds = options.preserve_fds,
                                 .held = false}));
  return 0;
}

}  // namespace nacre::cmd
