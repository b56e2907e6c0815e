// SPDX-License-Identifier: Apache-2.0
#include "guest-init/link/transport.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

#include <cstring>

namespace nacre::guest {

namespace {

constexpr int kBacklog = 64;
constexpr time_t kTransportSeconds = 60;

Result<Fd> make_socket(int family) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(family == AF_VSOCK ? "no vsock" : "socket");
  return fd;
}

sockaddr_vm vsock_address(unsigned cid, unsigned port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

Result<void> bind_and_listen(int fd, const sockaddr* address, socklen_t size) {
  if (::bind(fd, address, size) < 0) return fail_errno("bind");
  if (::listen(fd, kBacklog) < 0) return fail_errno("listen");
  return set_nonblocking(fd, true);
}

}  // namespace

Result<Transport::Listener> VsockTransport::listen(uint32_t port) {
  Listener listener{TRY(make_socket(AF_VSOCK)), port};
  sockaddr_vm address = vsock_address(VMADDR_CID_ANY, port == 0 ? VMADDR_PORT_ANY : port);
  TRY(bind_and_listen(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  socklen_t size = sizeof(address);
  if (::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) {
    return fail_errno("getsockname");
  }
  listener.port = address.svm_port;
  return listener;
}

Fd VsockTransport::accept(const Listener& listener) {
  sockaddr_vm peer{};
  socklen_t size = sizeof(peer);
  Fd fd(::accept4(listener.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // A container could come through the loopback transport, if the kernel has one.
  if (fd && peer.svm_cid != VMADDR_CID_HOST) fd.reset();
  return fd;
}

Result<Fd> VsockTransport::connect_to_host(uint32_t port) {
  Fd fd = TRY(make_socket(AF_VSOCK));
  // The kernel's own patience is two seconds, which a busy host may need.
  timeval patience{.tv_sec = kTransportSeconds, .tv_usec = 0};
  if (::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience)) < 0) {
    return fail_errno("SO_VM_SOCKETS_CONNECT_TIMEOUT");
  }
  sockaddr_vm address = vsock_address(VMADDR_CID_HOST, port);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    return fail_errno("connect to the host's vsock port " + std::to_string(port));
  }
  TRY(set_nonblocking(fd.get(), true));
  return fd;
}

Result<Transport::Listener> UnixTransport::listen(uint32_t port) {
  Listener listener{TRY(make_socket(AF_UNIX)), port == 0 ? next_port_++ : port};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = directory_ + "/" + std::to_string(listener.port);
  if (path.size() >= sizeof(address.sun_path)) return fail("socket path is too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  TRY(bind_and_listen(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  return listener;
}

Fd UnixTransport::accept(const Listener& listener) {
  return Fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace nacre::guest
