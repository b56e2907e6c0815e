// SPDX-License-Identifier: Apache-2.0
// Takes clients on the host that ask for streams to the guest, by Firecracker's protocol. A client connects to a unix
// socket and sends
//   CONNECT <port>\n
// It gets "OK <host port>\n" once the guest has accepted, and from then on the socket carries the stream. The socket is
// closed if the guest refuses or the line makes no sense.
//
// Nacre adds to that protocol: a client may attach one descriptor (SCM_RIGHTS) to the line. The stream is then joined
// to that descriptor, and the socket becomes its status channel (status_channel.h). The line may say what the
// descriptor is used for:
//   CONNECT <port> r\n    the device reads the descriptor and sends to the guest
//   CONNECT <port> w\n    what the guest sends is written to the descriptor
//   CONNECT <port> rw\n   both
// Without such a word, the descriptor's access mode decides.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/virtio/vsock/stream.h"
#include "devices/virtio/vsock/timer.h"

namespace nacre::virtio::vsock {

// Reads "CONNECT <port>[ r|w|rw]" without its newline. Returns nothing for any other line.
struct ConnectLine {
  uint32_t port;
  std::optional<HostEnd::Direction> direction;
};
std::optional<ConnectLine> parse_connect_line(std::string_view line);

class Listener {
 public:
  using Connect = std::function<void(ClientRequest)>;

  // How long a client may take to send its line.
  static constexpr std::chrono::seconds kLineTimeout{5};
  // How many clients may wait that have sent no line yet. Any more are closed at once.
  static constexpr size_t kMaxWaiting = 256;

  // `socket` is bound and listening. create() makes it non-blocking.
  static Result<std::unique_ptr<Listener>> create(EventLoop& loop, Fd socket, Connect connect);
  ~Listener();

 private:
  struct Client {
    ClientRequest request;
    std::string line;
    Clock::time_point deadline;
  };

  Listener(EventLoop& loop, Fd socket, Connect connect)
      : loop_(loop), socket_(std::move(socket)), connect_(std::move(connect)) {}
  void accept_clients();
  void add_client(Fd socket);
  void read_line(int fd);
  bool read_some(Client& client, bool& complete);
  void drop(int fd);
  void on_timer();

  EventLoop& loop_;
  Fd socket_;
  Connect connect_;
  std::unique_ptr<Timer> timer_;
  std::unordered_map<int, Client> clients_;  // by descriptor
  bool paused_ = false;                      // no descriptors were left, so accepting goes on later
  LogLimiter log_;
};

}  // namespace nacre::virtio::vsock
