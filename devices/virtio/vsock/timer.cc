// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/timer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

namespace nacre::virtio::vsock {

Result<std::unique_ptr<Timer>> Timer::create(EventLoop& loop, std::function<void()> expired) {
  Fd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return fail_errno("timerfd_create");
  std::unique_ptr<Timer> timer(new Timer(loop, std::move(fd)));
  TRY(loop.add(timer->fd_.get(), EPOLLIN, [timer = timer.get(), expired = std::move(expired)](uint32_t) {
    uint64_t count;
    if (::read(timer->fd_.get(), &count, sizeof(count)) < 0) return;
    timer->armed_.reset();
    expired();
  }));
  return timer;
}

Timer::~Timer() {
  loop_.remove(fd_.get());
}

void Timer::arm(Clock::time_point deadline) {
  if (armed_ && *armed_ <= deadline) return;
  armed_ = deadline;
  auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
  itimerspec spec{};
  spec.it_value.tv_sec = ns / 1'000'000'000;
  spec.it_value.tv_nsec = std::max<long>(ns % 1'000'000'000, 1);  // zero would disarm the timer
  ::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

}  // namespace nacre::virtio::vsock
