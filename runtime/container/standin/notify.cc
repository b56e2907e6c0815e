// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace nacre::runtime {

namespace {

Result<Fd> connect_to_notify(std::string name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof(address.sun_path)) return fail("name too long", ENAMETOOLONG);
  socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (name[0] == '@') name[0] = '\0';
  std::memcpy(address.sun_path, name.data(), name.size());
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) return fail_errno("connect");
  return socket;
}

}  // namespace

NotifyForwarder NotifyForwarder::from_environment() {
  NotifyForwarder forwarder;
  const char* name = ::getenv("NOTIFY_SOCKET");
  if (name == nullptr || *name == '\0') return forwarder;
  auto socket = connect_to_notify(name);
  if (!socket) {
    log_warn("NOTIFY_SOCKET " + std::string(name) + ": " + socket.error().message());
    return forwarder;
  }
  forwarder.socket_ = std::move(*socket);
  return forwarder;
}

void NotifyForwarder::tell_ready() {
  if (!socket_) return;
  std::string ready = "READY=1\nMAINPID=" + std::to_string(::getpid());
  if (::send(socket_.get(), ready.data(), ready.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    log_warn("NOTIFY_SOCKET: " + describe_errno(errno));
  }
  socket_.reset();  // passes READY on once, however often the guest reports it
}

}  // namespace nacre::runtime
