// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <utility>

#include "base/result.h"

namespace nacre::runtime {

// An idle child of this process. A unit of systemd needs a process from the start: this child is in the unit until the
// container's own process has entered.
class Holder {
 public:
  Holder() = default;
  static Result<Holder> start();
  Holder(Holder&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Holder& operator=(Holder&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Holder();
  pid_t pid() const { return pid_; }

 private:
  explicit Holder(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
};

}  // namespace nacre::runtime
