// SPDX-License-Identifier: Apache-2.0
// An event loop on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "base/result.h"

namespace nacre {

// What the program wants of each thread of a kind: signal mask, capabilities, system call filter. The thread calls it
// itself, as its last act before it serves anybody. After an error the thread does nothing else.
using ThreadStart = std::function<Result<void>()>;

// Blocks every signal for the calling thread: the ThreadStart of threads that no signal is for. That holds for threads
// that serve files above all: a guest's write beyond RLIMIT_FSIZE would raise SIGXFSZ.
Result<void> block_signals();

class LoopThread {
 public:
  // `name` has at most 15 bytes. The thread calls `enter`, which is the device's own preparation, and then `start` (if
  // that is empty, block_signals()). create() returns when the loop turns, or with the error of one of them.
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

}  // namespace nacre
