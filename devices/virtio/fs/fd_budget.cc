// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/fd_budget.h"

#include <sys/resource.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>

#include "base/fd.h"

namespace nacre::virtio::fs {
namespace {

// However high the limits of the host are: an open file costs the host's kernel a quarter KiB, and its inode more.
constexpr rlim_t kMost = 1 << 18;
// The part of all open files of the host that one guest may hold. Whoever is not root gets no file beyond their number.
constexpr rlim_t kShareOfHost = 6;

// Returns the number in a file below /proc/sys/fs, at most 2^32; nothing if there is no /proc.
std::optional<rlim_t> host_limit(const char* name) {
  auto text = read_file(std::string("/proc/sys/fs/") + name, 64);
  if (!text) return std::nullopt;
  rlim_t value = 0;
  for (char c : *text) {
    if (c < '0' || c > '9') break;
    value = std::min<rlim_t>(value * 10 + static_cast<rlim_t>(c - '0'), rlim_t{1} << 32);
  }
  return value;
}

// Returns the highest value that RLIMIT_NOFILE can have (proc(5), /proc/sys/fs/nr_open), but at most 16 Mi.
rlim_t highest_limit() {
  constexpr rlim_t kDefault = 1 << 20;
  const rlim_t value = host_limit("nr_open").value_or(0);
  return value > 0 ? std::min<rlim_t>(value, 16 << 20) : kDefault;
}

}  // namespace

void FdBudget::raise_limit() {
  static std::once_flag once;
  std::call_once(once, [] {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    rlim_t highest = highest_limit();
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max < highest) {
      rlimit raised{highest, highest};
      if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;  // needs CAP_SYS_RESOURCE
    }
    if (limit.rlim_cur < limit.rlim_max) {
      rlimit raised{limit.rlim_max, limit.rlim_max};
      if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    rlim_t budget = std::min(limit.rlim_cur / 4 * 3, kMost);
    if (auto files = host_limit("file-max")) budget = std::min(budget, *files / kShareOfHost);
    limit_ = static_cast<size_t>(budget);
  });
}

FdSlot FdBudget::take() {
  if (used_.fetch_add(1, std::memory_order_relaxed) >= limit_.load(std::memory_order_relaxed)) {
    used_.fetch_sub(1, std::memory_order_relaxed);
    return FdSlot(false);
  }
  return FdSlot(true);
}

}  // namespace nacre::virtio::fs
