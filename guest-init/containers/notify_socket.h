// SPDX-License-Identifier: Apache-2.0
// The socket on which a container's processes say that they are ready: sd_notify(3).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace nacre::guest {

class NotifySocket {
 public:
  // Makes the socket in `directory`, which is made too, with the one above it. Calls `on_ready` from the loop, once,
  // for the first datagram that has a line "READY=1". Other datagrams are ignored.
  static Result<std::unique_ptr<NotifySocket>> create(EventLoop& loop, const std::string& directory,
                                                      std::function<void()> on_ready);
  ~NotifySocket();

 private:
  NotifySocket(EventLoop& loop, Fd socket, std::string path)
      : loop_(loop), socket_(std::move(socket)), path_(std::move(path)) {}
  void on_datagram();

  EventLoop& loop_;
  Fd socket_;
  const std::string path_;
  std::function<void()> on_ready_;  // empty once it was called
};

}  // namespace nacre::guest
