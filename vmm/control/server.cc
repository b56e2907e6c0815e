#include "vmm/control/server.h"

#include <sys/socket.h>

#include <array>

namespace nacre::vmm {

namespace {

constexpr size_t kMaxClients = 16;

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(EventLoop& loop, Fd listener, Handler handler) {
  TRY(set_nonblocking(listener.get(), true));
  std::unique_ptr<ControlServer> server(new ControlServer(loop, std::move(listener), std::move(handler)));
  TRY(loop.add(server->listener_.get(), EPOLLIN, [server = server.get()](uint32_t) { server->accept_client(); }));
  return server;
}

ControlServer::~ControlServer() {
  for (const auto& [fd, client] : clients_) loop_.remove(fd);
  loop_.remove(listener_.get());
}

void ControlServer::accept_client() {
  Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client) {
    if (errno != EAGAIN && errno != EINTR) log_.warn(Error::from_errno("control: accept", errno).message());
    return;
  }
  if (clients_.size() >= kMaxClients) return log_.warn("control: too many callers");
  int fd = client.get();
  if (loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { serve(fd); })) clients_.emplace(fd, std::move(client));
}

void ControlServer::serve(int fd) {
  std::array<char, kMaxControlPacket> packet;
  ssize_t n = ::recv(fd, packet.data(), packet.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(fd);
  auto request = parse_request(std::string_view(packet.data(), static_cast<size_t>(n)));
  Result<MachineSize> outcome = MachineSize{};
  if (request) {
    outcome = handler_(*request);
  } else {
    outcome = std::unexpected(request.error());
  }
  std::string answer = encode_answer(outcome);
  if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) drop(fd);
}

void ControlServer::drop(int fd) {
  loop_.remove(fd);
  clients_.erase(fd);
}

}  // namespace nacre::vmm
