// SPDX-License-Identifier: Apache-2.0
// Tells when the kernel changes a file of a cgroup that says so: cgroup.events, memory.events (cgroup-v2.rst, "[Un]
// populated Notification").
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"

namespace nacre::guest {

class CgroupWatch {
 public:
  // Gets the text of the file; nothing, and for the last time, once the cgroup is gone.
  using OnChange = std::function<void(std::optional<std::string_view> text)>;

  // Calls `on_change` from the loop for each change, and soon for the present text. `on_change` may destroy this
  // object.
  static Result<std::unique_ptr<CgroupWatch>> create(EventLoop& loop, int cgroup, const char* file, OnChange on_change);
  ~CgroupWatch();
  CgroupWatch(const CgroupWatch&) = delete;
  CgroupWatch& operator=(const CgroupWatch&) = delete;

  // Calls `on_change` now, while the cgroup is still there.
  void look();

 private:
  CgroupWatch(EventLoop& loop, Fd file, OnChange on_change)
      : loop_(loop), file_(std::move(file)), on_change_(std::move(on_change)) {}

  EventLoop& loop_;
  Fd file_;  // invalid once the cgroup is gone
  OnChange on_change_;
};

}  // namespace nacre::guest
