// SPDX-License-Identifier: Apache-2.0
// Watches deadlines on an event loop. Calls back once the earliest armed deadline has passed. The owner then checks
// which deadlines have passed.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "base/event_loop.h"

namespace nacre::virtio::vsock {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, which timerfd knows too

class Timer {
 public:
  static Result<std::unique_ptr<Timer>> create(EventLoop& loop, std::function<void()> expired);
  ~Timer();

  // Arms this deadline, unless an earlier deadline is armed.
  void arm(Clock::time_point deadline);

 private:
  Timer(EventLoop& loop, Fd fd) : loop_(loop), fd_(std::move(fd)) {}

  EventLoop& loop_;
  Fd fd_;
  std::optional<Clock::time_point> armed_;
};

}  // namespace nacre::virtio::vsock
