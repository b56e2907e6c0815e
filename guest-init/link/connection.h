// SPDX-License-Identifier: Apache-2.0
// One control connection: frames in, frames out, one request at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "guest-init/protocol/frame.h"

namespace nacre::guest {

class Connection {
 public:
  // Calls `on_request` for each message; the next one comes only after reply(). Calls `on_close` once, from the loop,
  // when the peer has closed the connection or has broken the protocol. `on_close` may destroy the connection only
  // later, by EventLoop::post().
  using RequestHandler = std::function<void(const protocol::Json&)>;
  static Result<std::unique_ptr<Connection>> create(EventLoop& loop, Fd socket, RequestHandler on_request,
                                                    std::function<void()> on_close);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Answers the present request.
  void reply(const protocol::Json& message);
  // Sends an event.
  void send_event(const protocol::Json& message);
  // Closes the connection and logs why.
  void refuse(const char* why) { close(why); }

 private:
  Connection(EventLoop& loop, Fd socket, RequestHandler on_request, std::function<void()> on_close);
  void on_ready(uint32_t events);
  void read_some();
  void handle_requests();
  void send(const protocol::Json& message);
  void flush();
  void update_watch();
  void close(const char* why);

  EventLoop& loop_;
  Fd socket_;
  RequestHandler on_request_;
  std::function<void()> on_close_;
  protocol::Decoder decoder_;
  std::string outgoing_;
  uint32_t watch_ = 0;
  bool busy_ = false;  // a request waits for its reply
  bool handling_ = false;
  bool closed_ = false;
};

}  // namespace nacre::guest
