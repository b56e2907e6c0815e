// SPDX-License-Identifier: Apache-2.0
// Serves the socket of a client that passed a descriptor. Once the stream is up, the client may ask here whether the
// guest's output has reached the descriptor. Requests and answers are lines of text:
//   FLUSH <bytes>   answered by "OK <bytes>" once that many bytes from the guest, counted from the stream's start, have
//                   been written to the descriptor. The socket is closed instead if the guest has not sent that many
//                   yet, or if they can never be written: the client may have the number from the guest.
//   PROGRESS        answered at once by "WRITTEN <bytes>", or "WRITTEN <bytes> full" if the descriptor takes no more
//                   for now and bytes wait for it.
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

  // How far the stream's bytes from the guest have come.
  struct Progress {
    uint64_t received = 0;  // from the guest
    uint64_t written = 0;   // of these, in the descriptor
    bool open = false;      // whether the descriptor may still be written
  };

  // Takes the client's socket. When requests have come in, `changed` is called, and the owner then calls update().
  Result<void> open(EventLoop& loop, Fd socket, EventLoop::Task changed);
  // Answers the requests that can be answered now. Closes the socket if no further answer is possible.
  void update(const Progress& progress);
  void close();

 private:
  void read_lines();
  bool take_line(std::string_view line);
  void answer(const std::string& line);

  EventLoop* loop_ = nullptr;
  Fd socket_;
  std::string line_;             // the part of a line that has come so far
  std::deque<uint64_t> asked_;   // FLUSH requests without an answer, in the order in which they came
  unsigned progress_asked_ = 0;  // PROGRESS requests without an answer
  bool no_more_requests_ = false;
};

}  // namespace nacre::virtio::vsock
