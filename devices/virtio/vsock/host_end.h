// SPDX-License-Identifier: Apache-2.0
// The host's end of a stream: a descriptor that is read (its source), written (its sink), or both.
//
// Descriptors that clients pass in are the standard input and output of strangers, who share the open file description
// with us. So nothing here sets O_NONBLOCK on them, and yet no call should block. Sockets are used with MSG_DONTWAIT,
// pipes with RWF_NOWAIT, and terminals through a description of our own. Any other file is used only after poll(2) said
// that it is ready. Regular files, block devices and /dev/null cannot be polled and count as always ready.
//
// Writing to a pipe without a reader must not kill the process, so SIGPIPE is ignored (VsockDevice::create() sets
// that).
//
// Readiness is edge-triggered: can_read() and can_write() stay true until a call finds that there is nothing to do, and
// on_events() sets them again.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace nacre::virtio::vsock {

class HostEnd {
 public:
  // Says how the descriptor is used. Bytes that are read from it go to the guest; bytes of the guest are written to it.
  enum class Direction { read, write, both };

  struct Transfer {
    size_t bytes = 0;
    bool ended = false;  // end of file, or an error after which nothing more can be moved
  };

  HostEnd() = default;
  // Finds out what kind of file `fd` is. Tries to open a terminal once more, to get a description of our own.
  static Result<HostEnd> create(Fd fd, Direction direction);
  // Returns the direction that the access mode of the descriptor allows.
  static Result<Direction> direction_of(int fd);

  HostEnd(HostEnd&&) = default;
  HostEnd& operator=(HostEnd&&) = default;

  int fd() const { return fd_.get(); }
  bool has_source() const { return source_; }
  bool has_sink() const { return sink_; }
  bool can_read() const { return source_ && readable_; }
  bool can_write() const { return sink_ && writable_; }

  // Has the loop send edge-triggered events to `handler`, which calls on_events(). The loop must exist until detach().
  Result<void> attach(EventLoop& loop, EventLoop::Handler handler);
  void detach();
  void on_events(uint32_t events);

  // Reads into iovecs, or writes from iovecs, that are not all empty. Does not block. A transfer of 0 bytes that has
  // not ended means that the descriptor is not ready.
  Transfer read(std::span<const iovec> into);
  Transfer write(std::span<const iovec> from);

  // Ends reading, or writing. If a socket is used both ways, its peer is told when writing ends (shutdown(2)). When
  // both have ended, the descriptor is closed.
  void close_source();
  void close_sink();

 private:
  enum class Kind {
    socket,
    pipe,
    file,   // always ready
    other,  // terminals and other character devices, eventfd and the like
  };

  void close_if_unused();
  ssize_t read_once(std::span<const iovec> into);
  ssize_t write_once(std::span<const iovec> from);
  bool ready(short events) const;

  Fd fd_;
  EventLoop* loop_ = nullptr;  // while attached
  Kind kind_ = Kind::file;
  bool source_ = false;
  bool sink_ = false;
  bool readable_ = true;
  bool writable_ = true;
  bool nonblocking_ = false;     // a description of our own with O_NONBLOCK
  bool nowait_refused_ = false;  // RWF_NOWAIT is not supported, so poll first
};

}  // namespace nacre::virtio::vsock
