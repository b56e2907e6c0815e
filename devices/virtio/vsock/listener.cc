// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/listener.h"

#include <sys/socket.h>

#include <array>
#include <charconv>
#include <vector>

namespace nacre::virtio::vsock {

namespace {

constexpr std::string_view kConnect = "CONNECT ";
constexpr size_t kShortestLine = 10;  // "CONNECT 0\n"
constexpr size_t kLongestLine = 32;
constexpr std::chrono::milliseconds kAcceptRetry{200};

}  // namespace

std::optional<ConnectLine> parse_connect_line(std::string_view line) {
  if (!line.starts_with(kConnect)) return std::nullopt;
  line.remove_prefix(kConnect.size());
  ConnectLine result{};
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), result.port);
  if (error != std::errc()) return std::nullopt;
  std::string_view word(end, static_cast<size_t>(line.data() + line.size() - end));
  if (word.empty()) return result;
  if (word == " r") {
    result.direction = HostEnd::Direction::read;
  } else if (word == " w") {
    result.direction = HostEnd::Direction::write;
  } else if (word == " rw") {
    result.direction = HostEnd::Direction::both;
  } else {
    return std::nullopt;
  }
  return result;
}

Result<std::unique_ptr<Listener>> Listener::create(EventLoop& loop, Fd socket, Connect connect) {
  TRY(set_nonblocking(socket.get(), true));
  std::unique_ptr<Listener> listener(new Listener(loop, std::move(socket), std::move(connect)));
  listener->timer_ = TRY(Timer::create(loop, [listener = listener.get()] { listener->on_timer(); }));
  TRY(loop.add(listener->socket_.get(), EPOLLIN,
               [listener = listener.get()](uint32_t) { listener->accept_clients(); }));
  return listener;
}

Listener::~Listener() {
  for (auto& [fd, client] : clients_) loop_.remove(fd);
  loop_.remove(socket_.get());
}

void Listener::accept_clients() {
  for (int i = 0; i < 64; i++) {  // after that, others have their turn
    Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) {
      add_client(std::move(socket));
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    // Most likely, no descriptors are left. The socket stays readable, so stop watching it for a while.
    log_.warn(Error::from_errno("vsock: accept", errno).message());
    loop_.remove(socket_.get());
    paused_ = true;
    timer_->arm(Clock::now() + kAcceptRetry);
    return;
  }
}

void Listener::add_client(Fd socket) {
  if (clients_.size() >= kMaxWaiting) {
    log_.warn("vsock: too many clients wait to send their CONNECT line");
    return;
  }
  int fd = socket.get();
  if (!loop_.add(fd, EPOLLIN, [this, fd](uint32_t) { read_line(fd); })) return;
  Client& client = clients_[fd];
  client.request.socket = std::move(socket);
  client.deadline = Clock::now() + kLineTimeout;
  timer_->arm(client.deadline);
}

void Listener::read_line(int fd) {
  Client& client = clients_.at(fd);
  bool complete = false;
  while (!complete) {
    size_t before = client.line.size();
    if (!read_some(client, complete)) return drop(fd);
    if (client.line.size() == before) return;  // wait for more
  }
  auto line = parse_connect_line(std::string_view(client.line).substr(0, client.line.size() - 1));
  if (!line || (line->direction && !client.request.passed)) return drop(fd);
  ClientRequest request = std::move(client.request);
  request.port = line->port;
  request.direction = line->direction;
  loop_.remove(fd);
  clients_.erase(fd);
  connect_(std::move(request));
}

// Reads a piece of the line, and no byte past the newline: those bytes belong to the stream. So the shortest possible
// line is read in one piece and the rest byte by byte. Returns false if the client is to be dropped.
bool Listener::read_some(Client& client, bool& complete) {
  std::array<std::byte, kShortestLine> data;
  size_t have = client.line.size();
  size_t want = have < kShortestLine ? kShortestLine - have : 1;
  auto received = receive_with_fds(client.request.socket.get(), std::span(data).first(want), MSG_DONTWAIT);
  if (!received) return received.error().code() == EAGAIN;
  if (received->size == 0 || received->fds.size() + (client.request.passed ? 1 : 0) > 1) return false;
  if (!received->fds.empty()) client.request.passed = std::move(received->fds[0]);
  client.line.append(reinterpret_cast<const char*>(data.data()), received->size);
  size_t newline = client.line.find('\n', have);
  complete = newline != std::string::npos;
  if (complete) return newline + 1 == client.line.size();
  return client.line.size() < kLongestLine;
}

void Listener::drop(int fd) {
  loop_.remove(fd);
  clients_.erase(fd);
}

void Listener::on_timer() {
  auto now = Clock::now();
  std::vector<int> late;
  for (auto& [fd, client] : clients_) {
    if (client.deadline <= now) {
      late.push_back(fd);
    } else {
      timer_->arm(client.deadline);
    }
  }
  for (int fd : late) drop(fd);
  if (paused_) {
    // If even this fails, the next try comes after the same pause.
    paused_ = !loop_.add(socket_.get(), EPOLLIN, [this](uint32_t) { accept_clients(); });
    if (paused_) timer_->arm(now + kAcceptRetry);
  }
}

}  // namespace nacre::virtio::vsock
