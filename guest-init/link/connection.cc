// SPDX-License-Identifier: Apache-2.0
#include "guest-init/link/connection.h"

#include <sys/socket.h>

#include <array>

#include "base/log.h"

namespace nacre::guest {

namespace {

constexpr size_t kReadSize = 64 << 10;
// A peer that does not take its answers is not read any further.
constexpr size_t kMaxOutgoing = 1 << 20;

}  // namespace

Connection::Connection(EventLoop& loop, Fd socket, RequestHandler on_request, std::function<void()> on_close)
    : loop_(loop), socket_(std::move(socket)), on_request_(std::move(on_request)), on_close_(std::move(on_close)) {}

Connection::~Connection() {
  if (!closed_) loop_.remove(socket_.get());
}

Result<std::unique_ptr<Connection>> Connection::create(EventLoop& loop, Fd socket, RequestHandler on_request,
                                                       std::function<void()> on_close) {
  std::unique_ptr<Connection> connection(
      new Connection(loop, std::move(socket), std::move(on_request), std::move(on_close)));
  connection->watch_ = EPOLLIN | EPOLLRDHUP;
  TRY(loop.add(connection->socket_.get(), connection->watch_,
               [raw = connection.get()](uint32_t events) { raw->on_ready(events); }));
  return connection;
}

void Connection::on_ready(uint32_t events) {
  if (events & EPOLLOUT) flush();
  // While a request is worked on nothing is read, but the end of the peer is noticed.
  if (!closed_ && busy_ && (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))) close(nullptr);
  if (!closed_ && !busy_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))) read_some();
  if (!closed_) update_watch();
}

void Connection::read_some() {
  static std::array<std::byte, kReadSize> buffer;  // one thread
  ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    close(nullptr);
    return;
  }
  decoder_.append(std::span(buffer).first(static_cast<size_t>(got)));
  handle_requests();
}

void Connection::handle_requests() {
  if (handling_) return;  // reply() from within a request's handler: the loop below goes on
  handling_ = true;
  while (!closed_ && !busy_ && outgoing_.size() < kMaxOutgoing) {
    auto message = decoder_.next();
    if (!message) {
      close(message.error().message().c_str());
      break;
    }
    if (message->is_null()) break;
    busy_ = true;
    on_request_(*message);
  }
  handling_ = false;
}

void Connection::reply(const protocol::Json& message) {
  busy_ = false;
  send(message);
  handle_requests();
  if (!closed_) update_watch();
}

void Connection::send_event(const protocol::Json& message) {
  send(message);
  if (!closed_) update_watch();
}

void Connection::send(const protocol::Json& message) {
  if (closed_) return;
  auto frame = protocol::to_frame(message);
  if (!frame) {
    close(frame.error().message().c_str());
    return;
  }
  outgoing_ += *frame;
  flush();
}

void Connection::flush() {
  size_t done = 0;
  while (done < outgoing_.size()) {
    ssize_t n = ::send(socket_.get(), outgoing_.data() + done, outgoing_.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) {
      close(nullptr);
      return;
    }
    done += static_cast<size_t>(n);
  }
  outgoing_.erase(0, done);
  if (outgoing_.size() < kMaxOutgoing) handle_requests();
}

void Connection::update_watch() {
  uint32_t wanted = EPOLLRDHUP;
  if (!busy_ && outgoing_.size() < kMaxOutgoing) wanted |= EPOLLIN;
  if (!outgoing_.empty()) wanted |= EPOLLOUT;
  if (wanted == watch_) return;
  watch_ = wanted;
  if (!loop_.modify(socket_.get(), wanted)) close("cannot be watched");
}

void Connection::close(const char* why) {
  if (closed_) return;
  closed_ = true;
  if (why != nullptr) log_warn(std::string("control connection closed: ") + why);
  loop_.remove(socket_.get());
  socket_.reset();
  on_close_();
}

}  // namespace nacre::guest
