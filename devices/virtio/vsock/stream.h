// A connection of the guest's joined to the host's end of it, with the guest's bytes in between that the host's end
// does not take yet (at most the credit that the guest was given).
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

// What a client on the listener asked for.
struct ClientRequest {
  Fd socket;
  uint32_t port = 0;
  Fd passed;  // may be none
  std::optional<HostEnd::Direction> direction;
};

class Stream {
 public:
  // Called when the host's end or the status channel has news. The stream may be destroyed in the call.
  using Changed = std::function<void(Stream&)>;

  Stream(EventLoop& loop, Connection connection, Changed changed)
      : connection(std::move(connection)), loop_(loop), changed_(std::move(changed)) {}
  ~Stream() { end_.detach(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Connection connection;
  // For the owner: its list of streams with packets due, and the time at which it gives the stream up.
  std::optional<std::list<Stream*>::iterator> queued;
  std::optional<Clock::time_point> deadline;

  // Joins the stream to the host's end.
  Result<void> join(HostEnd end);
  // Keeps a client until the guest has accepted (accept_client()): then it gets its "OK <port>" line, and the stream is
  // joined to the descriptor it passed or to its socket.
  void set_client(ClientRequest client) { client_ = std::move(client); }
  Result<void> accept_client();

  // From the guest: `data` goes to the host's end, now or when it takes it.
  void deliver(std::span<const iovec> data);
  // To the guest: reads from the host's end.
  size_t read(std::span<const iovec> into);

  // Whether there is a packet for the guest.
  bool has_output();
  // Moves what can be moved and closes what has ended. Call after every change.
  void settle();
  // Nothing more will be moved in either direction.
  bool finished() const { return joined_ && !end_.has_source() && !end_.has_sink(); }

  // The guest's side is gone. What it has sent is still written; drained() tells when that is done.
  void cut_off();
  bool is_cut_off() const { return cut_off_; }
  bool drained() const { return !joined_ || finished(); }

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
