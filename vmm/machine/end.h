// SPDX-License-Identifier: Apache-2.0
// The end of a run of the machine. The first reason that anybody gives counts.
#pragma once

#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

struct End {
  ExitStatus status = ExitStatus::power_off;
  std::string message;  // empty for the ordinary ends
};

// Records the end and stops the loop. Any thread may call end(); the first call wins.
class EndSignal {
 public:
  explicit EndSignal(EventLoop& loop) : loop_(loop) {}

  void end(ExitStatus status, std::string message = {}) {
    {
      MutexLock lock(mutex_);
      if (end_) return;
      end_ = End{status, std::move(message)};
    }
    loop_.stop();
  }

  std::optional<End> get() const {
    MutexLock lock(mutex_);
    return end_;
  }

 private:
  EventLoop& loop_;
  mutable Mutex mutex_;
  std::optional<End> end_ GUARDED_BY(mutex_);
};

}  // namespace nacre::vmm
