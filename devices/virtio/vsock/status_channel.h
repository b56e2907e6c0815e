// The socket of a client that passed a descriptor: once its stream is up, the client may ask here whether the guest's
// output has reached the descriptor. Lines of text:
//   FLUSH <bytes>   answered by "OK <bytes>" once that many bytes from the guest, counted from the stream's start, have
//                   been written to the descriptor. The socket is closed instead when that can never be.
// The device closes the socket when the stream has ended. The client may close it at any time; the stream goes on.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"

namespace nacre::virtio::vsock {

class StatusChannel {
 public:
  StatusChannel() = default;
  ~StatusChannel() { close(); }

  // `changed` is called when requests have come in: the owner then calls update().
  Result<void> open(EventLoop& loop, Fd socket, EventLoop::Task changed);
  // `written`: bytes that reached the descriptor; `more`: whether others may still follow.
  void update(uint64_t written, bool more);
  void close();

 private:
  void read_lines();
  bool take_line(std::string_view line);

  EventLoop* loop_ = nullptr;
  Fd socket_;
  std::string line_;            // a line so far
  std::deque<uint64_t> asked_;  // FLUSH requests without an answer
  bool no_more_requests_ = false;
};

}  // namespace nacre::virtio::vsock
