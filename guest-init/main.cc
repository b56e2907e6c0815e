// SPDX-License-Identifier: Apache-2.0
// PID 1 of a Nacre machine.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/event_loop.h"
#include "base/log.h"
#include "guest-init/boot.h"
#include "guest-init/link/transport.h"
#include "guest-init/protocol/protocol.h"
#include "guest-init/server.h"

namespace {

using namespace nacre;
using namespace nacre::guest;

// Serves until the host has closed the primary connection and all others that have made containers.
Result<void> serve() {
  TRY_CONTEXT(set_up_machine(), "set up the machine");
  TRY(mount_share());
  auto loop = TRY(EventLoop::create());
  VsockTransport transport;
  auto server = TRY(Server::create(*loop, transport, TableConfig{}));
  Fd primary = TRY(VsockTransport::connect_to_host(protocol::kHostPort));
  TRY(server->add_primary(std::move(primary), [&loop] { loop->stop(); }));
  return loop->run();
}

}  // namespace

int main() {
  if (::getpid() != 1) {
    std::fputs("guest-init runs only as the first process of a machine\n", stderr);
    return 1;
  }
  ::umask(022);
  ::signal(SIGPIPE, SIG_IGN);
  set_up_console();
  auto served = serve();
  if (!served) log_error(served.error().message() + "; this machine is made for nacre, and powers off");
  power_off();
}
