// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/fs_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "base/log.h"
#include "devices/virtio/config_space.h"
#include "devices/virtio/fs/session.h"
#include "devices/virtio/worker.h"

namespace nacre::virtio {
namespace {

// The number of requests that are served in one turn of the loop, over both queues. Without this limit, a driver that
// always has one more request would keep the worker from everything else, such as resets and tree changes.
constexpr size_t kFsBudget = 64;
constexpr uint16_t kFsStateVersion = 1;

// virtio 1.3, 5.11.4
struct Config {
  char tag[FsDevice::kMaxTag];
  uint32_t num_request_queues;
};
static_assert(sizeof(Config) == 40);

// Checks that a descriptor of /proc/self/fd is that of this process. If the parent opened the descriptor before a fork,
// it shows the parent's files.
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

// The thread and what it owns. Public functions and run() are for any other thread. The other private functions run on
// this thread.
class FsDevice::Worker final : public DeviceWorker::Client {
 public:
  static Result<std::unique_ptr<Worker>> start(const FsOptions& options) {
    auto worker = std::unique_ptr<Worker>(new Worker());
    worker->timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!worker->timer_) return fail_errno("make a timer");
    worker->session_ = TRY(fs::Session::create(
        TRY(options.root.dup()), options,
        [raw = worker.get()](size_t queue, Chain chain, uint32_t written) { raw->complete(queue, chain, written); }));
    worker->thread_ = TRY(LoopThread::create("virtio-fs", options.thread_start,
                                             [raw = worker.get()](EventLoop& loop) { return raw->enter(loop); }));
    return worker;
  }

  ~Worker() override {
    // Everything that the loop refers to must go before the loop does.
    if (thread_) run([this] { leave(); });
  }

  Result<void> activate(Activation activation) { return queues_->activate(std::move(activation)); }

  void reset() {
    queues_->reset();
    run([this] { session_->reset(); });  // also resets a session that was restored but never activated
  }

  void pause() { queues_->pause(); }
  void resume() { queues_->resume(); }

  Result<void> save(StateWriter& state) {
    Result<void> result;
    run([&] {
      result = state.section("virtio-fs", kFsStateVersion, [&] {
        queues_->save(state);
        return session_->save(state);
      });
    });
    return result;
  }

  Result<void> restore(StateReader& state) {
    Result<void> result;
    run([&] { result = take_over(state); });
    return result;
  }

  Result<void> add_tree(const std::string& name, Fd root) {
    Result<void> result;
    run([&] { result = session_->add_tree(name, std::move(root)); });
    return result;
  }

  void remove_tree(const std::string& name) {
    run([&] {
      session_->remove_tree(name);
      if (!queues_->is_running()) return;  // the first turn after resume() arms the timer
      session_->retry_locks();
      arm_timer();
    });
  }

 private:
  Worker() = default;

  void run(const std::function<void()>& task) { thread_->loop().post_and_wait(task); }

  Result<void> enter(EventLoop& loop) {
    TRY(session_->enter_thread());
    TRY(loop.add(timer_.get(), EPOLLIN, [this](uint32_t) { on_timer(); }));
    queues_ = TRY(DeviceWorker::create(loop, "virtio-fs", *this));
    return {};
  }

  void leave() {
    queues_.reset();
    thread_->loop().remove(timer_.get());
  }

  // Starts serving (DeviceWorker::Client). In a restored session, requests may be waiting for locks. Their chains are
  // in flight in the queues, so started() fetches them again.
  Result<void> started() override {
    if (queues_->is_broken()) return {};
    for (size_t i = 0; i < queues_->queue_count(); i++) {
      if (session_->waiting_count(i) != queues_->queue(i).in_flight()) {
        return fail("virtio-fs: the saved state lacks requests, or has too many", EBADMSG);
      }
    }
    return session_->retake_waiting([this](size_t queue, uint16_t head) -> Result<Chain> {
      if (queue >= queues_->queue_count()) return fail("virtio-fs: a saved request is of no queue", EBADMSG);
      return queues_->queue(queue).retake(head);
    });
  }

  // Serves the queues in turns, one request each, until they are empty or the budget is spent.
  Result<bool> turn() override {
    size_t budget = kFsBudget;
    size_t queues = queues_->queue_count();
    size_t empty = 0;  // the number of queues in a row that had nothing
    for (size_t i = 0; empty < queues && budget > 0; i = (i + 1) % queues) {
      size_t served = TRY(queues_->serve(i, 1, [&](Chain chain) { session_->submit(i, std::move(chain)); }));
      empty = served > 0 ? 0 : empty + 1;
      budget -= served;
    }
    arm_timer();
    return budget == 0;
  }

  void broken() override {}
  void stopped() override { session_->reset(); }

  Result<void> take_over(StateReader& state) {
    StateReader fields = TRY(state.section("virtio-fs", kFsStateVersion));
    TRY(queues_->restore(fields));
    auto restored = TRY(session_->restore(fields));
    if (auto ended = fields.end(); !ended) {
      session_->reset();
      return ended;
    }
    if (restored.lost > 0) {
      log_warn("virtio-fs: of " + std::to_string(restored.files) + " files that the guest holds, " +
               std::to_string(restored.lost) + " are not found again and answer ESTALE");
    }
    return {};
  }

  void complete(size_t queue, const Chain& chain, uint32_t written) {
    queues_->complete(queue, chain, written);
    // Tells the driver at once and not after the turn, since the next request may wait for the disk.
    queues_->signal(queue);
  }

  void on_timer() {
    drain_eventfd(timer_.get());
    armed_ = false;
    if (!queues_->is_running()) return;
    session_->retry_locks();
    arm_timer();
  }

  void arm_timer() {
    auto delay = session_->lock_retry_delay();
    if (armed_ || !delay) return;
    itimerspec when{};
    when.it_value.tv_nsec = std::chrono::nanoseconds(*delay).count();  // always less than a second
    armed_ = ::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
  }

  Fd timer_;
  std::unique_ptr<fs::Session> session_;
  std::unique_ptr<DeviceWorker> queues_;
  bool armed_ = false;
  std::unique_ptr<LoopThread> thread_;
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

Result<void> FsDevice::save(StateWriter& state) {
  return worker_->save(state);
}

Result<void> FsDevice::restore(StateReader& state) {
  return worker_->restore(state);
}

Result<void> FsDevice::add_tree(const std::string& name, Fd root) {
  return worker_->add_tree(name, std::move(root));
}

void FsDevice::remove_tree(const std::string& name) {
  worker_->remove_tree(name);
}

}  // namespace nacre::virtio
