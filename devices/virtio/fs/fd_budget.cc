// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/fd_budget.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/fd.h"

namespace nacre::virtio::fs {
namespace {

// Returns the highest value that RLIMIT_NOFILE can have (proc(5), /proc/sys/fs/nr_open), but at most 16 Mi. Returns the
// default of nr_open if there is no /proc.
rlim_t system_limit() {
  constexpr rlim_t kDefault = 1 << 20;
  auto text = read_file("/proc/sys/fs/nr_open", 64);
  if (!text) return kDefault;
  rlim_t value = 0;
  for (char c : *text) {
    if (c < '0' || c > '9') break;
    value = value * 10 + static_cast<rlim_t>(c - '0');
  }
  return value > 0 ? std::min<rlim_t>(value, 16 << 20) : kDefault;
}

}  // namespace

void FdBudget::raise_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  rlim_t highest = system_limit();
  if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max < highest) {
    rlimit raised{highest, highest};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;  // needs CAP_SYS_RESOURCE
  }
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  limit_ = static_cast<size_t>(limit.rlim_cur / 4 * 3);
}

FdSlot FdBudget::take() {
  if (used_.fetch_add(1, std::memory_order_relaxed) >= limit_.load(std::memory_order_relaxed)) {
    used_.fetch_sub(1, std::memory_order_relaxed);
    return FdSlot(false);
  }
  return FdSlot(true);
}

}  // namespace nacre::virtio::fs
