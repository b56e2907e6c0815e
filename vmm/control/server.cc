// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.h"

#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>

namespace nacre::vmm {

namespace {

constexpr size_t kMaxCallers = 1024;
constexpr long kPauseNanoseconds = 200'000'000;

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(EventLoop& loop, Fd listener, ControlHandler& handler) {
  TRY(set_nonblocking(listener.get(), true));
  Fd retry(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!retry) return fail_errno("timerfd_create");
  std::unique_ptr<ControlServer> server(new ControlServer(loop, std::move(listener), std::move(retry), handler));
  TRY(loop.add(server->listener_.get(), EPOLLIN, [server = server.get()](uint32_t) { server->accept_caller(); }));
  TRY(loop.add(server->retry_.get(), EPOLLIN, [server = server.get()](uint32_t) { server->resume(); }));
  return server;
}

ControlServer::~ControlServer() {
  for (const auto& [fd, caller] : callers_) loop_.remove(fd);
  loop_.remove(listener_.get());
  loop_.remove(retry_.get());
}

void ControlServer::pause() {
  itimerspec timer{};
  timer.it_value.tv_nsec = kPauseNanoseconds;
  if (::timerfd_settime(retry_.get(), 0, &timer, nullptr) == 0) (void)loop_.modify(listener_.get(), 0);
}

void ControlServer::resume() {
  uint64_t expirations;
  [[maybe_unused]] ssize_t n = ::read(retry_.get(), &expirations, sizeof(expirations));
  (void)loop_.modify(listener_.get(), EPOLLIN);
}

void ControlServer::accept_caller() {
  Fd caller(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!caller) {
    // A caller may have gone already.
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    log_.warn(Error::from_errno("control: accept", errno).message());
    return pause();
  }
  if (callers_.size() >= kMaxCallers) return log_.warn("control: too many callers");
  int fd = caller.get();
  if (loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { serve(fd); })) callers_.emplace(fd, std::move(caller));
}

void ControlServer::serve(int fd) {
  std::array<char, kMaxControlPacket + 1> packet;  // one byte more shows that a packet is too long
  auto received = receive_with_fds(fd, std::as_writable_bytes(std::span(packet)));
  if (!received && (received.error().code() == EAGAIN || received.error().code() == EINTR)) return;
  if (!received || received->size == 0) return drop(fd);
  std::string text = encode_answer(answer(fd, std::span(packet).first(received->size), std::move(received->fds)));
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) drop(fd);
}

Result<MachineSize> ControlServer::answer(int fd, std::span<const char> packet, std::vector<Fd> descriptors) {
  if (packet.size() > kMaxControlPacket) return fail("a packet that is too long", EINVAL);
  auto request = TRY(parse_request(std::string_view(packet.data(), packet.size())));
  if (descriptors.size() > 1) return fail("more than one descriptor", EINVAL);
  return handler_.handle(fd, request, descriptors.empty() ? Fd() : std::move(descriptors.front()));
}

void ControlServer::drop(int fd) {
  loop_.remove(fd);
  Fd closed = std::move(callers_[fd]);
  callers_.erase(fd);
  handler_.caller_is_gone(fd);
}

}  // namespace nacre::vmm
