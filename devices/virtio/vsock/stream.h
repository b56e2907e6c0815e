// SPDX-License-Identifier: Apache-2.0
// Joins a guest's connection to its host end. Bytes from the guest that the host end does not take yet are kept in
// between: at most the credit that the guest was given.
//
// Bytes to the guest are never held: they are read from the descriptor straight into the guest's buffers.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <span>

#include "base/event_loop.h"
#include "devices/virtio/vsock/byte_ring.h"
#include "devices/virtio/vsock/connection.h"
#include "devices/virtio/vsock/host_end.h"
#include "devices/virtio/vsock/status_channel.h"
#include "devices/virtio/vsock/timer.h"

namespace nacre::virtio::vsock {

// What a client of the listener asks for.
struct ClientRequest {
  Fd socket;
  uint32_t port = 0;
  Fd passed;  // the descriptor to join the stream to; if empty, the socket
  std::optional<HostEnd::Direction> direction;
};

class Stream {
 public:
  // Called when the host end or the status channel has changed. The stream may be destroyed in the call.
  using Changed = std::function<void(Stream&)>;

  Stream(EventLoop& loop, Connection connection, Changed changed)
      : connection(std::move(connection)), loop_(loop), changed_(std::move(changed)) {}
  ~Stream() { end_.detach(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Connection connection;
  // These two are for the owner: the stream's place in its list of streams with packets due, and the time at which the
  // owner gives up waiting for the guest.
  std::optional<std::list<Stream*>::iterator> queued;
  std::optional<Clock::time_point> deadline;

  // Joins the stream to its host end.
  Result<void> join(HostEnd end);
  // Keeps a client until the guest has accepted. accept_client() then sends the "OK <port>" line and joins the stream
  // to the descriptor that the client passed, or to its socket.
  void set_client(ClientRequest client) { client_ = std::move(client); }
  Result<void> accept_client();

  // Writes the guest's bytes to the host end, now or when the host end can take them.
  void deliver(std::span<const iovec> data);
  // Reads bytes for the guest from the host end.
  size_t read(std::span<const iovec> into);

  // Returns whether there is a packet for the guest. Makes a credit request due if data waits without credit.
  bool has_output();
  // Moves what can be moved and closes what has ended. Call this after every change.
  void settle();
  // Returns whether nothing more will be moved in either direction.
  bool is_finished() const { return joined_ && !end_.has_source() && !end_.has_sink(); }

  // Tells the stream that the guest's side is gone. What the guest has sent is still written, until is_drained().
  void cut_off();
  bool is_cut_off() const { return cut_off_; }
  bool is_drained() const { return !joined_ || is_finished(); }

 private:
  HostEnd::Transfer write(std::span<const iovec> data);
  void lose_sink();
  void on_events(uint32_t events);

  EventLoop& loop_;
  Changed changed_;
  ClientRequest client_;
  HostEnd end_;
  StatusChannel status_;
  ByteRing from_guest_;
  uint64_t received_ = 0;  // bytes from the guest
  uint64_t written_ = 0;   // of these, in the host's end
  bool joined_ = false;
  bool cut_off_ = false;
};

}  // namespace nacre::virtio::vsock
