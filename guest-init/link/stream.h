// SPDX-License-Identifier: Apache-2.0
// One descriptor of a process, in one direction, carried between its pipe and the one connection that the host makes to
// its port.
//
// Lives on one event loop. Nothing blocks: a side that cannot take bytes stops the reading of the other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/link/transport.h"

namespace nacre::guest {

class Stream {
 public:
  enum class Direction { to_process, from_process };

  // Takes guest-init's end of the pipe or socket pair, or a terminal's master, and opens a port. `on_change` is called
  // from the loop when is_finished() or is_drained() may have become true; it may destroy the stream only later, by
  // EventLoop::post().
  static Result<std::unique_ptr<Stream>> create(EventLoop& loop, Transport& transport, Direction direction, Fd pipe,
                                                std::function<void()> on_change);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  uint32_t port() const { return listener_.port; }
  // Gives the host, which has been told the port, a minute to connect.
  void expect_connection();
  // Returns how many bytes the connection has taken so far.
  uint64_t sent() const { return sent_; }

  // Tells the stream that the process has ended: what its pipe holds now is the rest of its own output. is_drained()
  // becomes true when that is on the connection, or never can be. Later output comes from others that have the pipe.
  void process_exited();
  bool is_drained() const { return finished_ || sent_ >= drain_target_; }
  // Returns whether nothing will move any more.
  bool is_finished() const { return finished_; }
  // Closes everything, without calling `on_change`.
  void abort();

 private:
  Stream(EventLoop& loop, Transport& transport, Direction direction, Fd pipe, std::function<void()> on_change);
  Result<void> open_port();
  void on_listener();
  void on_pipe(uint32_t events);
  void on_connection(uint32_t events);
  // Moves a chunk; returns false if there is nothing more to do at this time.
  bool move_chunk();
  bool flush();
  size_t write_some(std::string_view data);
  void update_watches();
  void watch(int fd, uint32_t& current, uint32_t wanted);
  void close_listener();
  bool peer_refuses_output() const;
  void take_rest();
  void finish();

  int source() const { return direction_ == Direction::to_process ? connection_.get() : pipe_.get(); }
  int sink() const { return direction_ == Direction::to_process ? pipe_.get() : connection_.get(); }

  EventLoop& loop_;
  Transport& transport_;
  const Direction direction_;
  const bool terminal_;
  Fd pipe_, connection_, timer_;
  Transport::Listener listener_;
  std::function<void()> on_change_;
  std::string pending_;  // read and not yet written: less than one chunk
  uint32_t pipe_watch_ = kNotWatched, connection_watch_ = kNotWatched;
  bool half_closed_ = false;  // the host has shut down its direction of an output's connection, as it should
  bool finished_ = false;
  uint64_t sent_ = 0;
  uint64_t drain_target_ = UINT64_MAX;

  static constexpr uint32_t kNotWatched = ~0u;
};

}  // namespace nacre::guest
