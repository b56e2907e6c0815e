// SPDX-License-Identifier: Apache-2.0
// A serial port's output into a descriptor: a terminal, a pipe, a socket or a file.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/fd.h"
#include "devices/legacy/serial.h"

namespace nacre {

// Never waits for the descriptor and never changes its flags, which others share. The program must ignore SIGPIPE; when
// the reader has gone, output is thrown away, for the guest is to run on without it.
class SerialFdSink final : public SerialSink {
 public:
  // Works on a duplicate of `fd`. `loop` watches for room and must outlive the sink.
  static Result<std::unique_ptr<SerialFdSink>> create(EventLoop& loop, int fd);
  // On the loop's thread, or when it has stopped.
  ~SerialFdSink() override;

  // What to call when there is room again: Serial::output_ready(). Set before vCPUs run.
  void set_on_room(std::function<void()> callback);

  // A file gets kFileLimit bytes at most, and a last line that says so: the guest is not to fill the host's disk.
  static constexpr size_t kFileLimit = 1 << 20;
  size_t write(std::span<const std::byte> data) override;

 private:
  enum class Kind { socket, nonblocking, polled, file };
  // What a task posted to the loop may still reach after the sink is gone.
  struct Watch {
    Watch(EventLoop& event_loop, Fd descriptor) : loop(&event_loop), fd(std::move(descriptor)) {}
    EventLoop* loop;
    Fd fd;
    std::function<void()> on_room;
    std::atomic<bool> asked = false;  // a task is posted or the loop watches: at most one at a time
    bool armed = false;               // loop's thread
    bool alive = true;                // loop's thread
  };

  SerialFdSink(EventLoop& loop, Fd fd, Kind kind);
  static void ask_for_room(const std::shared_ptr<Watch>& watch);
  ssize_t write_some(std::span<const std::byte> data);
  ssize_t write_to_file(std::span<const std::byte> data);

  const Kind kind_;
  size_t file_room_ = kFileLimit;  // write() is called by one at a time
  std::shared_ptr<Watch> watch_;
};

}  // namespace nacre
