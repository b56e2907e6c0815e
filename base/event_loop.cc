// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <unistd.h>

#include <array>
#include <condition_variable>
#include <mutex>

namespace nacre {

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("epoll_create1");
  Fd wake = TRY(make_eventfd());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // null marks the wake-up descriptor
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) < 0) return fail_errno("epoll_ctl");
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

EventLoop::~EventLoop() = default;

Result<void> EventLoop::add(int fd, uint32_t events, Handler handler) {
  auto registration = std::make_shared<Registration>(Registration{fd, std::move(handler)});
  epoll_event event{};
  event.events = events;
  event.data.ptr = registration.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl add");
  registrations_[fd] = std::move(registration);
  return {};
}

Result<void> EventLoop::modify(int fd, uint32_t events) {
  auto found = registrations_.find(fd);
  if (found == registrations_.end()) return fail("event loop: descriptor is not registered", ENOENT);
  epoll_event event{};
  event.events = events;
  event.data.ptr = found->second.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0) return fail_errno("epoll_ctl modify");
  return {};
}

void EventLoop::remove(int fd) {
  auto found = registrations_.find(fd);
  if (found == registrations_.end()) return;
  found->second->removed = true;
  registrations_.erase(found);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Result<void> EventLoop::run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      if (std::exchange(stop_, false)) return {};
    }
    TRY(run_once(-1));
  }
}

Result<void> EventLoop::run_once(int timeout_ms) {
  thread_ = ::gettid();
  std::array<epoll_event, 64> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  if (count < 0) {
    if (errno == EINTR) return {};
    return fail_errno("epoll_wait");
  }
  // Hold every registration of this batch, so that one that a handler removes outlives its own call.
  std::array<std::shared_ptr<Registration>, 64> batch;
  bool woken = false;
  for (int i = 0; i < count; i++) {
    auto* registration = static_cast<Registration*>(events[i].data.ptr);
    if (registration == nullptr) {
      woken = true;
    } else {
      auto found = registrations_.find(registration->fd);
      if (found != registrations_.end() && found->second.get() == registration) batch[i] = found->second;
    }
  }
  for (int i = 0; i < count; i++) {
    if (batch[i] && !batch[i]->removed) batch[i]->handler(events[i].events);
  }
  if (woken) run_posted();
  return {};
}

void EventLoop::stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  signal_eventfd(wake_.get());
}

void EventLoop::post(Task task) {
  {
    MutexLock lock(mutex_);
    posted_.push_back(std::move(task));
  }
  signal_eventfd(wake_.get());
}

void EventLoop::post_and_wait(Task task) {
  if (on_loop_thread()) {
    task();
    return;
  }
  std::mutex done_mutex;
  std::condition_variable done_changed;
  bool done = false;
  post([&] {
    task();
    // Notify under the lock: the waiter destroys all three as soon as it sees `done`.
    std::lock_guard lock(done_mutex);
    done = true;
    done_changed.notify_one();
  });
  std::unique_lock lock(done_mutex);
  done_changed.wait(lock, [&] { return done; });
}

void EventLoop::run_posted() {
  drain_eventfd(wake_.get());
  std::vector<Task> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) task();
}

bool EventLoop::on_loop_thread() const {
  pid_t thread = thread_.load();
  return thread == 0 || thread == ::gettid();
}

}  // namespace nacre
