// The host's end of a stream: a descriptor that is read (its source), written (its sink), or both.
//
// Descriptors that clients pass in are the standard input and output of strangers, who share the open file description
// with us. So nothing here sets O_NONBLOCK, and yet no call may block: sockets are used with MSG_DONTWAIT, pipes with
// RWF_NOWAIT, terminals through a description of our own, and what can do none of that only after poll(2) said so.
// Regular files, block devices and /dev/null cannot be polled and count as always ready.
//
// Writing to a pipe without a reader must not kill the process: SIGPIPE is ignored (VsockDevice::create sees to it).
//
// Readiness is edge-triggered: can_read() and can_write() stay true until a call finds that there is nothing to do,
// and on_events() sets them again.
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
  // What we do with the descriptor: what is read goes to the guest.
  enum class Direction { read, write, both };

  struct Transfer {
    size_t bytes = 0;
    bool ended = false;  // end of file, or an error after which nothing more can be moved
  };

  HostEnd() = default;
  // Finds out what kind of file it is. Tries to open a terminal once more, to have a description of our own.
  static Result<HostEnd> create(Fd fd, Direction direction);
  // Returns what the descriptor's access mode allows.
  static Result<Direction> direction_of(int fd);

  HostEnd(HostEnd&&) = default;
  HostEnd& operator=(HostEnd&&) = default;

  int fd() const { return fd_.get(); }
  bool has_source() const { return source_; }
  bool has_sink() const { return sink_; }
  bool can_read() const { return source_ && readable_; }
  bool can_write() const { return sink_ && writable_; }

  // Sends edge-triggered events to `handler`, which calls on_events(). The loop must be there until detach().
  Result<void> attach(EventLoop& loop, EventLoop::Handler handler);
  void detach();
  void on_events(uint32_t events);

  // Read into, and write from, iovecs that are not all empty, without blocking. 0 bytes and not ended: not ready.
  Transfer read(std::span<const iovec> into);
  Transfer write(std::span<const iovec> from);

  // End reading, and writing. A socket that is used both ways tells its peer when writing ends (shutdown(2)). When both
  // have ended the descriptor is closed.
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
  bool nowait_refused_ = false;  // RWF_NOWAIT is not supported: poll first
};

}  // namespace nacre::virtio::vsock
