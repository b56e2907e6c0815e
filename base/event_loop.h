// SPDX-License-Identifier: Apache-2.0
// One thread's event loop over epoll.
//
// Handlers run on the thread that calls run(). add(), modify() and remove() are for that thread only (or before run());
// post(), post_and_wait() and stop() are for any thread. A handler may remove any descriptor, its own included, and
// may add others. A removed handler is never called again, not even for an event that was already fetched.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "base/result.h"

namespace nacre {

class EventLoop {
 public:
  // Called with the epoll events that are ready (EPOLLIN | ...).
  using Handler = std::function<void(uint32_t events)>;
  using Task = std::function<void()>;

  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Calls `handler` for events of `fd`. The loop does not own `fd`: call remove() before closing the descriptor. One
  // handler per descriptor.
  Result<void> add(int fd, uint32_t events, Handler handler);
  Result<void> modify(int fd, uint32_t events);
  void remove(int fd);

  // Runs until stop(). The loop may be run again after that.
  Result<void> run();
  // Waits for at most `timeout_ms` (-1: no limit), runs the handlers that are ready, and returns.
  Result<void> run_once(int timeout_ms);
  void stop();

  // Runs `task` on the loop's thread, soon, without waiting.
  void post(Task task);
  // Runs `task` on the loop's thread, and returns when the task has run. On the loop's own thread the task runs at
  // once. The own thread is the thread that ran the loop last, even if it no longer does; before the first run, every
  // thread is. On other threads the call waits for the loop to turn.
  void post_and_wait(Task task);

 private:
  struct Registration {
    int fd;
    Handler handler;
    bool removed = false;
  };

  EventLoop(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void run_posted();
  bool on_loop_thread() const;

  Fd epoll_;
  Fd wake_;
  std::unordered_map<int, std::shared_ptr<Registration>> registrations_;
  Mutex mutex_;
  std::vector<Task> posted_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
  std::atomic<pid_t> thread_{0};  // tid of the thread that ran the loop last; 0 before the first run
};

}  // namespace nacre
