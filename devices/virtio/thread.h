// Threads of devices.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "base/result.h"

namespace nacre::virtio {

// The first act of a device's thread, on that thread: what the program that has the device wants of each of its threads
// (signal mask, capabilities, system call filter). An error is the device's and ends the thread.
using ThreadStart = std::function<Result<void>()>;

// The least that a device's thread needs, for programs that want nothing else: blocks every signal. No signal is for
// such a thread; above all not SIGXFSZ, which a guest's write beyond RLIMIT_FSIZE would raise.
Result<void> block_signals();

// An event loop on a thread of its own.
class LoopThread {
 public:
  // `name` has at most 15 bytes. The thread calls `start` and then `enter` (either may be empty), and create() returns
  // when the loop turns, or with the error of one of them.
  static Result<std::unique_ptr<LoopThread>> create(std::string name, ThreadStart start,
                                                    std::function<Result<void>(EventLoop&)> enter = {});
  // Ends the loop and waits for the thread. Not on the thread itself.
  ~LoopThread();

  EventLoop& loop() { return *loop_; }

 private:
  explicit LoopThread(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}

  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

}  // namespace nacre::virtio
