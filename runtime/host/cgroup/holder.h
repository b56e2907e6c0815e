#pragma once

#include <sys/types.h>

#include <utility>

#include "base/result.h"

namespace nacre::runtime {

// A unit of systemd's has to have a process from the first: this child of ours, which does nothing, until another has
// come.
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
