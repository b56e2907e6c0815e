#include "devices/virtio/fs/fs_device.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>
#include <system_error>
#include <thread>

#include "base/event_loop.h"
#include "base/log.h"
#include "devices/virtio/config_space.h"
#include "devices/virtio/fs/session.h"

namespace nacre::virtio {
namespace {

// Requests that are served in one turn of the loop, over both queues: a driver that always has one more would otherwise
// keep the worker from everything else, such as resets and tree changes.
constexpr int kFsBudget = 64;

// virtio 1.3, 5.11.4
struct Config {
  char tag[FsDevice::kMaxTag];
  uint32_t num_request_queues;
};
static_assert(sizeof(Config) == 40);

// Checks that a descriptor of /proc/self/fd is that of this process: after a fork, one that the parent opened shows the
// parent's files.
Result<void> check_proc(int proc_self_fd, int root) {
  struct stat through{};
  struct stat directly{};
  Fd again(::openat(proc_self_fd, std::to_string(root).c_str(), O_PATH | O_CLOEXEC));
  if (!again || ::fstat(again.get(), &through) < 0 || ::fstat(root, &directly) < 0) {
    return fail_errno("reach the shared directory through /proc/self/fd");
  }
  if (through.st_dev != directly.st_dev || through.st_ino != directly.st_ino) {
    return fail("the descriptor of /proc/self/fd is another process's");
  }
  return {};
}

}  // namespace

// The thread and what it owns. Private functions run on the thread.
class FsDevice::Worker {
 public:
  static Result<std::unique_ptr<Worker>> start(const FsOptions& options) {
    auto worker = std::unique_ptr<Worker>(new Worker());
    worker->loop_ = TRY(EventLoop::create());
    worker->again_ = TRY(make_eventfd());
    worker->timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!worker->timer_) return fail_errno("make a timer");
    worker->session_ = TRY(fs::Session::create(
        TRY(options.root.dup()), options,
        [raw = worker.get()](size_t queue, Chain chain, uint32_t written) { raw->complete(queue, chain, written); }));
    TRY(worker->loop_->add(worker->timer_.get(), EPOLLIN, [raw = worker.get()](uint32_t) { raw->on_timer(); }));
    TRY(worker->loop_->add(worker->again_.get(), EPOLLIN, [raw = worker.get()](uint32_t) {
      uint64_t count;
      [[maybe_unused]] ssize_t n = ::read(raw->again_.get(), &count, sizeof(count));
      raw->turn();
    }));
    TRY(worker->start_thread());
    return worker;
  }

  ~Worker() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }

  Result<void> activate(Activation activation) {
    Result<void> result;
    loop_->post_and_wait([&] { result = begin(std::move(activation)); });
    return result;
  }

  void reset() {
    loop_->post_and_wait([this] { end(); });
  }

  void pause() {
    loop_->post_and_wait([this] {
      paused_ = true;
      for (const ActiveQueue& queue : activation_.queues) loop_->remove(queue.kick);
    });
  }

  void resume() {
    loop_->post_and_wait([this] {
      if (!std::exchange(paused_, false) || broken_) return;
      for (size_t i = 0; i < activation_.queues.size(); i++) {
        auto added = loop_->add(activation_.queues[i].kick, EPOLLIN, [this, i](uint32_t) { on_kick(i); });
        if (!added) return break_device(added.error());
      }
      turn();
    });
  }

  Result<void> add_tree(const std::string& name, Fd root) {
    Result<void> result;
    loop_->post_and_wait([&] { result = session_->add_tree(name, std::move(root)); });
    return result;
  }

  void remove_tree(const std::string& name) {
    loop_->post_and_wait([&] { session_->remove_tree(name); });
  }

 private:
  Worker() = default;

  // Starts the thread. Returns when it has its credentials and its loop runs.
  Result<void> start_thread() {
    std::promise<Result<void>> ready;
    try {
      thread_ = std::thread([this, &ready] { run(ready); });
    } catch (const std::system_error& error) {
      return fail_errno("start the file system's thread", error.code().value());
    }
    return ready.get_future().get();
  }

  void run(std::promise<Result<void>>& ready) {
    // This thread takes no signals; above all not SIGXFSZ, which a guest's write beyond RLIMIT_FSIZE would raise.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    pthread_setname_np(pthread_self(), "virtio-fs");
    if (auto entered = session_->enter_thread(); !entered) {
      ready.set_value(std::move(entered));
      return;
    }
    loop_->post([&ready] { ready.set_value({}); });
    if (auto ended = loop_->run(); !ended) {
      log_error("virtio-fs: " + ended.error().message());
      std::abort();  // epoll_wait(2) fails for nothing but a broken loop
    }
  }

  Result<void> begin(Activation activation) {
    end();
    activation_ = std::move(activation);
    for (size_t i = 0; i < activation_.queues.size() && !paused_; i++) {
      auto added = loop_->add(activation_.queues[i].kick, EPOLLIN, [this, i](uint32_t) { on_kick(i); });
      if (!added) {
        end();
        return added;
      }
    }
    turn();  // what came in before
    return {};
  }

  void end() {
    for (const ActiveQueue& queue : activation_.queues) loop_->remove(queue.kick);
    activation_ = {};
    broken_ = false;
    session_->reset();
  }

  void on_kick(size_t index) {
    uint64_t count;
    if (::read(activation_.queues[index].kick, &count, sizeof(count)) < 0) return;  // EAGAIN: somebody was faster
    turn();
  }

  // Serves the queues in turns, one request each, until they are empty or the budget is spent; then the loop's next
  // round goes on.
  void turn() {
    int budget = kFsBudget;
    size_t queues = activation_.queues.size();
    size_t empty = 0;  // queues in a row that had nothing
    for (size_t i = 0; empty < queues && budget > 0; i = (i + 1) % queues) {
      empty = serve_one(i) ? 0 : empty + 1;
      if (empty == 0) budget--;
    }
    if (broken_ || paused_) return;
    arm_timer();
    if (budget > 0) return;
    uint64_t one = 1;
    [[maybe_unused]] ssize_t n = ::write(again_.get(), &one, sizeof(one));
  }

  // Returns false if the queue is empty, and then the driver notifies us of the next request.
  bool serve_one(size_t index) {
    if (broken_ || paused_) return false;
    Queue& ring = activation_.queues[index].ring;
    auto chain = ring.pop();
    if (chain && !*chain) {
      ring.enable_notifications();
      chain = ring.pop();  // what came in before the driver saw that it has to notify
    }
    if (!chain) break_device(chain.error());
    if (!chain || !*chain) return false;
    ring.disable_notifications();
    session_->submit(index, std::move(**chain));
    return true;
  }

  void complete(size_t index, const Chain& chain, uint32_t written) {
    if (broken_) return;
    Queue& ring = activation_.queues[index].ring;
    if (auto pushed = ring.push(chain, written); !pushed) return break_device(pushed.error());
    // The driver is told at once and not after the batch, since the next request may wait for the disk.
    if (ring.needs_interrupt()) activation_.interrupt->queue_used(static_cast<uint16_t>(index));
  }

  void on_timer() {
    uint64_t count;
    if (::read(timer_.get(), &count, sizeof(count)) < 0) return;
    armed_ = false;
    if (paused_) return;
    session_->retry_locks();
    arm_timer();
  }

  void arm_timer() {
    auto delay = session_->lock_retry_delay();
    if (armed_ || !delay) return;
    itimerspec when{};
    when.it_value.tv_nsec = std::chrono::nanoseconds(*delay).count();  // below a second
    armed_ = ::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
  }

  // Stops serving a driver that broke the rules of its rings, until it resets the device (virtio 1.3, 2.1.2).
  void break_device(const Error& error) {
    broken_ = true;
    broken_log_.warn("virtio-fs: " + error.message());
    for (const ActiveQueue& queue : activation_.queues) loop_->remove(queue.kick);
    activation_.interrupt->device_broken();
  }

  std::unique_ptr<EventLoop> loop_;
  Fd timer_;
  Fd again_;  // an eventfd, readable while requests are left for the loop's next round
  std::unique_ptr<fs::Session> session_;
  LogLimiter broken_log_;
  Activation activation_{};  // without queues while the device is not active
  bool broken_ = false;
  bool paused_ = false;
  bool armed_ = false;
  std::thread thread_;
};

FsDevice::FsDevice(std::string tag, Fd own_proc, std::unique_ptr<Worker> worker)
    : tag_(std::move(tag)), own_proc_(std::move(own_proc)), worker_(std::move(worker)) {}

FsDevice::~FsDevice() = default;

Result<std::unique_ptr<FsDevice>> FsDevice::create(FsOptions options) {
  if (options.tag.empty() || options.tag.size() > kMaxTag) return fail("a virtio-fs tag has 1 to 36 bytes", EINVAL);
  Fd own_proc;
  if (options.proc_self_fd < 0) {
    own_proc = TRY(open_file("/proc/self/fd", O_RDONLY | O_DIRECTORY));
    options.proc_self_fd = own_proc.get();
  }
  TRY(check_proc(options.proc_self_fd, options.root.get()));
  auto worker = TRY(Worker::start(options));
  return std::unique_ptr<FsDevice>(new FsDevice(std::move(options.tag), std::move(own_proc), std::move(worker)));
}

void FsDevice::read_config(uint64_t offset, std::span<std::byte> data) {
  Config config{};
  std::copy_n(tag_.data(), tag_.size(), config.tag);  // NUL-padded, not terminated
  config.num_request_queues = 1;
  read_config_space(config, offset, data);
}

Result<void> FsDevice::activate(Activation activation) {
  if (activation.queues.size() != std::size(kQueueSizes)) return fail("virtio-fs has two queues");
  return worker_->activate(std::move(activation));
}

void FsDevice::reset() {
  worker_->reset();
}

void FsDevice::pause() {
  worker_->pause();
}

void FsDevice::resume() {
  worker_->resume();
}

Result<void> FsDevice::save(StateWriter&) {
  return fail("virtio-fs: the state of a file server is not saved", ENOTSUP);
}

Result<void> FsDevice::restore(StateReader&) {
  return fail("virtio-fs: the state of a file server is not restored", ENOTSUP);
}

Result<void> FsDevice::add_tree(const std::string& name, Fd root) {
  return worker_->add_tree(name, std::move(root));
}

void FsDevice::remove_tree(const std::string& name) {
  worker_->remove_tree(name);
}

}  // namespace nacre::virtio
