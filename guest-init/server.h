// SPDX-License-Identifier: Apache-2.0
// What the host sees of guest-init: the control port, the primary connection, and behind them the containers.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/alive.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/containers/table.h"
#include "guest-init/link/connection.h"
#include "guest-init/link/transport.h"

namespace nacre::guest {

class Server {
 public:
  // Listens on the control port, and takes over SIGCHLD and the reaping of every child of this process. `loop` and
  // `transport` must outlive the server.
  static Result<std::unique_ptr<Server>> create(EventLoop& loop, Transport& transport, TableConfig config);
  ~Server();

  // Takes the primary connection. `on_end` is called when the host has closed it, and all other connections that have
  // made containers.
  Result<void> add_primary(Fd socket, std::function<void()> on_end);

 private:
  Server(EventLoop& loop, Transport& transport, TableConfig config);
  Result<void> listen();
  Result<void> watch_children();
  void on_listener();
  Result<ConnectionId> add_connection(Fd socket);
  void on_request(ConnectionId connection, const Json& request);
  void on_close(ConnectionId connection);
  void reap();
  ContainerTable::Answer dispatch(ConnectionId connection, const Json& request);

  EventLoop& loop_;
  Transport& transport_;
  Transport::Listener listener_;
  Fd child_signal_;
  ConnectionId next_connection_ = kNoConnection + 1;
  std::map<ConnectionId, std::unique_ptr<Connection>> connections_;
  ContainerTable table_;
  ConnectionId primary_ = kNoConnection;
  std::function<void()> on_end_;
  Alive alive_;
};

}  // namespace nacre::guest
