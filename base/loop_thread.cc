// SPDX-License-Identifier: Apache-2.0
#include "base/loop_thread.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <future>
#include <system_error>

#include "base/log.h"

namespace nacre {

namespace {

Result<void> begin(EventLoop& loop, const std::string& name, const ThreadStart& start,
                   const std::function<Result<void>(EventLoop&)>& enter) {
  pthread_setname_np(pthread_self(), name.c_str());
  if (enter) TRY(enter(loop));
  return start ? start() : block_signals();
}

}  // namespace

Result<void> block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  if (int error = ::pthread_sigmask(SIG_SETMASK, &all, nullptr); error != 0) return fail_errno("block signals", error);
  return {};
}

Result<std::unique_ptr<LoopThread>> LoopThread::create(std::string name, ThreadStart start,
                                                       std::function<Result<void>(EventLoop&)> enter) {
  std::unique_ptr<LoopThread> thread(new LoopThread(TRY(EventLoop::create())));
  std::promise<Result<void>> ready;
  auto run = [&loop = *thread->loop_, &ready, name, start = std::move(start), enter = std::move(enter)] {
    if (auto begun = begin(loop, name, start, enter); !begun) return ready.set_value(std::move(begun));
    loop.post([&ready] { ready.set_value({}); });
    if (auto ended = loop.run(); !ended) {
      log_error(name + ": " + ended.error().message());
      std::abort();  // epoll_wait(2) fails for nothing but a broken loop
    }
  };
  try {
    thread->thread_ = std::thread(std::move(run));
  } catch (const std::system_error& error) {
    return fail_errno("start the thread " + name, error.code().value());
  }
  TRY(ready.get_future().get());
  return thread;
}

LoopThread::~LoopThread() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

}  // namespace nacre
