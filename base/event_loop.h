// One thread's event loop over epoll.
//
// Handlers run on the thread that calls run(). add(), modify() and remove() are for that thread only (or before run());
// post(), post_and_wait() and stop() are for any thread. A handler may remove any descriptor, its own included, and
// may add others: a removed handler is never called again, not even for an event that was already fetched.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
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

  // The loop does not own `fd`; remove() it before closing it. One handler per descriptor.
  Result<void> add(int fd, uint32_t events, Handler handler);
  Result<void> modify(int fd, uint32_t events);
  void remove(int fd);

  // Runs until stop(). Then the loop may be run again.
  Result<void> run();
  // Waits for at most `timeout_ms` (-1: no limit), runs what is ready, returns.
  Result<void> run_once(int timeout_ms);
  void stop();

  // Runs `task` on the loop's thread, soon.
  void post(Task task);
  // The same, and returns when it has run. On the loop's own thread it runs at once: that is the thread that ran the
  // loop last, also when it no longer does, or anybody before the first run. On others it waits for the loop to turn.
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
  std::mutex mutex_;  // guards posted_, stop_
  std::vector<Task> posted_;
  bool stop_ = false;
  std::atomic<pid_t> thread_{0};  // tid of the thread that ran the loop last, 0: none yet
};

}  // namespace nacre
