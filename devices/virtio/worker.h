// SPDX-License-Identifier: Apache-2.0
// The thread's side of a device: what every device does with its queues, whatever it does with the requests.
//
// A DeviceWorker belongs to an event loop: one that is shared, or a LoopThread of the device's own. It watches the
// kicks of the queues and gives the device turns. A turn has a budget, so that other devices on the loop, and tasks
// that were posted to it, have theirs; a device that is not through gets another turn in the loop's next round. A
// driver that breaks the rules of a queue costs one limited line in the log and DEVICE_NEEDS_RESET, and then nothing is
// done with any queue until the device is reset.
//
//   class Device : public VirtioDevice, DeviceWorker::Client { ... activate() { return worker_->activate(...); } ... };
//   Result<bool> Device::turn() {
//     size_t served = TRY(worker_->serve(0, kBudget, [this](Chain chain) { ...; worker_->complete(0, chain, written);
//     })); worker_->signal(0); return served == kBudget;
//   }
//
// Requests may be completed in any order and at any later time: complete() and signal() from a task or a timer on the
// loop's thread, but not while the device is paused. What a device completes after its driver broke the rules goes
// nowhere.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "devices/state.h"
#include "devices/virtio/device.h"

namespace nacre::virtio {

class DeviceWorker {
 public:
  // What a device does. Called on the loop's thread.
  class Client {
   public:
    virtual ~Client() = default;
    // The queues are there; turns follow. After restore() their positions are the saved ones. An error refuses the
    // activation.
    virtual Result<void> started() = 0;
    // One round of work, within a budget. True: there may be more. An error: the driver broke the rules of a queue.
    virtual Result<bool> turn() = 0;
    // The driver broke the rules of a queue: there are no more turns. Called from no turn and no completion.
    virtual void broken() = 0;
    // The queues are about to go: the device was reset. Called once for each started() that did well.
    virtual void stopped() = 0;
  };

  // `name` begins lines of the log. The loop and the client must outlive the worker. create() and the destructor are
  // for the loop's thread, or while nobody runs it.
  static Result<std::unique_ptr<DeviceWorker>> create(EventLoop& loop, std::string name, Client& client);
  // Does not call the client: a device whose driver is still there ends without stopped().
  ~DeviceWorker();

  // What a VirtioDevice's functions of the same names do. Any thread; they wait for the loop's.
  Result<void> activate(Activation activation);
  void reset();
  void pause();
  void resume();

  // The rest is for the loop's thread.

  bool is_active() const { return active_ != nullptr; }
  // Whether queues may be touched: the device is active, not paused, and its driver has broken no rules.
  bool is_running() const { return active_ && !paused_ && !active_->broken; }
  bool is_paused() const { return paused_; }
  bool is_broken() const { return active_ && active_->broken; }

  // Of an active device.
  Queue& queue(size_t index) { return active_->activation.queues[index].ring; }
  size_t queue_count() const { return active_->activation.queues.size(); }
  uint64_t features() const { return active_->activation.features; }
  Interrupt& interrupt() { return *active_->activation.interrupt; }

  // Has a turn now, if the device is running and this is no turn already.
  void wake();

  // Within a turn: takes up to `budget` chains from a queue and hands each to `handle`. Returns how many there were.
  // When there are fewer than the budget, the driver has been asked to notify us of the next. Stops early if a
  // completion breaks the device.
  Result<size_t> serve(size_t queue, size_t budget, const std::function<void(Chain)>& handle);
  // Gives a chain back to its queue. Nothing if the device is not active, or broken.
  void complete(size_t queue, const Chain& chain, uint32_t written);
  // After completions: interrupts the driver if it wants that.
  void signal(size_t queue);
  // The driver broke the rules of a queue.
  void fail(const Error& error);

  // The part of the state that this class has: whether the device is active, and where it is in its queues. Of a paused
  // device, and then for any thread.
  void save(StateWriter& state) const;
  Result<void> restore(StateReader& state);

 private:
  struct Active {
    explicit Active(Activation given) : activation(std::move(given)) {}
    Activation activation;
    bool watched = false;  // the loop watches the kicks
    bool broken = false;
  };
  // What restore() keeps for activate().
  struct Saved {
    bool broken = false;
    std::vector<QueueState> queues;
  };

  DeviceWorker(EventLoop& loop, std::string name, Client& client)
      : loop_(loop), name_(std::move(name)), client_(client) {}
  Result<void> start(Activation activation);
  Result<void> take_positions();
  void stop();
  Result<void> watch();
  void unwatch();
  void unpause();
  void turn();
  void tell_broken();

  EventLoop& loop_;
  const std::string name_;
  Client& client_;
  Fd again_;  // an eventfd: another turn is due
  std::unique_ptr<Active> active_;
  std::optional<Saved> saved_;
  bool paused_ = false;
  bool busy_ = false;        // in a turn
  bool broken_due_ = false;  // the client is to be told
  LogLimiter log_;
};

}  // namespace nacre::virtio
