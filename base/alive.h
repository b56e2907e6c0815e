// SPDX-License-Identifier: Apache-2.0
// For work that is posted for later by an object that may be gone by then.
#pragma once

#include <memory>
#include <utility>

namespace nacre {

// A member of the object, the last one, so that it goes first. For one thread.
class Alive {
 public:
  Alive() = default;
  ~Alive() { *alive_ = false; }
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;

  // Returns a task that calls `task` if the object still exists, and else does nothing.
  template <typename Task>
  auto guard(Task task) const {
    return [alive = alive_, task = std::move(task)] {
      if (*alive) task();
    };
  }

 private:
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace nacre
