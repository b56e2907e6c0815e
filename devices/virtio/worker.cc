// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/worker.h"

namespace nacre::virtio {

namespace {

constexpr uint16_t kWorkerStateVersion = 1;
constexpr size_t kMaxQueues = 64;

}  // namespace

Result<std::unique_ptr<DeviceWorker>> DeviceWorker::create(EventLoop& loop, std::string name, Client& client) {
  std::unique_ptr<DeviceWorker> worker(new DeviceWorker(loop, std::move(name), client));
  Fd again = TRY(make_eventfd());
  TRY(loop.add(again.get(), EPOLLIN, [worker = worker.get()](uint32_t) {
    drain_eventfd(worker->again_.get());
    worker->tell_broken();
    worker->turn();
  }));
  worker->again_ = std::move(again);
  return worker;
}

DeviceWorker::~DeviceWorker() {
  unwatch();
  if (again_) loop_.remove(again_.get());
}

Result<void> DeviceWorker::activate(Activation activation) {
  Result<void> result;
  loop_.post_and_wait([&] { result = start(std::move(activation)); });
  return result;
}

void DeviceWorker::reset() {
  loop_.post_and_wait([this] { stop(); });
}

void DeviceWorker::pause() {
  loop_.post_and_wait([this] {
    tell_broken();
    paused_ = true;
    unwatch();
  });
}

void DeviceWorker::resume() {
  loop_.post_and_wait([this] { unpause(); });
}

Result<void> DeviceWorker::start(Activation activation) {
  if (active_) return nacre::fail(name_ + ": activated twice");
  active_ = std::make_unique<Active>(std::move(activation));
  auto started = [this]() -> Result<void> {
    TRY(take_positions());
    TRY(client_.started());
    return watch();
  }();
  if (!started) {
    unwatch();
    active_.reset();
    return started;
  }
  turn();  // what the driver made available before
  return {};
}

// Moves the queues to where they were when the device was saved.
Result<void> DeviceWorker::take_positions() {
  if (!saved_) return {};
  Saved saved = *std::exchange(saved_, std::nullopt);
  if (saved.queues.size() != queue_count()) return nacre::fail(name_ + ": the saved state is of other queues", EBADMSG);
  active_->broken = saved.broken;
  for (size_t i = 0; i < saved.queues.size(); i++) {
    TRY_CONTEXT(queue(i).restore(saved.queues[i]), name_ + ", queue " + std::to_string(i));
  }
  return {};
}

void DeviceWorker::stop() {
  saved_.reset();
  if (!active_) return;
  unwatch();
  client_.stopped();
  active_.reset();
  broken_due_ = false;
}

// A kick that came while nobody watched still stands in its eventfd.
Result<void> DeviceWorker::watch() {
  if (!active_ || active_->broken || paused_ || active_->watched) return {};
  active_->watched = true;
  for (const ActiveQueue& queue : active_->activation.queues) {
    TRY(loop_.add(queue.kick, EPOLLIN, [this, kick = queue.kick](uint32_t) {
      drain_eventfd(kick);
      turn();
    }));
  }
  return {};
}

void DeviceWorker::unwatch() {
  if (!active_ || !std::exchange(active_->watched, false)) return;
  for (const ActiveQueue& queue : active_->activation.queues) loop_.remove(queue.kick);
}

void DeviceWorker::unpause() {
  if (!std::exchange(paused_, false)) return;
  saved_.reset();
  if (auto watched = watch(); !watched) return fail(watched.error());
  turn();
}

void DeviceWorker::wake() {
  if (!busy_) turn();
}

void DeviceWorker::turn() {
  if (!is_running()) return;
  busy_ = true;
  Result<bool> more = client_.turn();
  busy_ = false;
  if (!more) fail(more.error());
  tell_broken();
  if (more && *more) signal_eventfd(again_.get());
}

Result<size_t> DeviceWorker::serve(size_t index, size_t budget, const std::function<void(Chain)>& handle) {
  Queue& ring = queue(index);
  ring.disable_notifications();
  for (size_t served = 0; served < budget; served++) {
    if (active_->broken) return served;
    auto chain = TRY(ring.pop());
    if (!chain) {
      ring.enable_notifications();
      chain = TRY(ring.pop());  // one may have come in between
      if (!chain) return served;
      ring.disable_notifications();
    }
    handle(std::move(*chain));
  }
  return budget;
}

void DeviceWorker::complete(size_t index, const Chain& chain, uint32_t written) {
  if (!active_ || active_->broken) return;
  if (auto pushed = queue(index).push(chain, written); !pushed) fail(pushed.error());
}

void DeviceWorker::signal(size_t index) {
  if (!active_ || active_->broken) return;
  if (queue(index).needs_interrupt()) interrupt().queue_used(static_cast<uint16_t>(index));
}

void DeviceWorker::fail(const Error& error) {
  if (!active_ || std::exchange(active_->broken, true)) return;
  log_.warn(name_ + ": " + error.message());
  unwatch();
  interrupt().device_broken();
  // The client may be in the middle of something: it is told from the end of its turn, or from the loop.
  broken_due_ = true;
  if (!busy_) signal_eventfd(again_.get());
}

void DeviceWorker::tell_broken() {
  if (active_ && std::exchange(broken_due_, false)) client_.broken();
}

void DeviceWorker::save(StateWriter& state) const {
  state.section("worker", kWorkerStateVersion, [&] {
    state.boolean(active_ && active_->broken);
    state.boolean(is_active());
    if (!active_) return;
    state.count(active_->activation.queues.size());
    for (const ActiveQueue& queue : active_->activation.queues) queue.ring.state().save(state);
  });
}

Result<void> DeviceWorker::restore(StateReader& state) {
  StateReader worker = TRY(state.section("worker", kWorkerStateVersion));
  Saved saved;
  saved.broken = TRY(worker.boolean());
  bool active = TRY(worker.boolean());
  if (active) {
    uint32_t queues = TRY(worker.count(kMaxQueues, QueueState::kSavedSize));
    for (uint32_t i = 0; i < queues; i++) saved.queues.push_back(TRY(QueueState::restore(worker)));
  }
  TRY(worker.end());
  saved_ = std::move(saved);
  return {};
}

}  // namespace nacre::virtio
