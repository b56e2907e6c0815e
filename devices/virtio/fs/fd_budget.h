// SPDX-License-Identifier: Apache-2.0
// Limits how many descriptors the virtio-fs devices of this process may hold for their guest.
//
// Each inode that the guest remembers costs a descriptor here, and the guest decides how many it remembers. The rest of
// the process (vsock connections, the control socket) must stay able to open files whatever the guest does, so a part
// of RLIMIT_NOFILE is kept back for the rest. And open files are memory of the host's kernel, of which all programs
// share a number (fs.file-max), so one guest gets a small part of it, whatever RLIMIT_NOFILE is.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace nacre::virtio::fs {

// The right to hold one descriptor. Move-only.
class FdSlot {
 public:
  FdSlot() = default;
  FdSlot(FdSlot&& other) noexcept : held_(std::exchange(other.held_, false)) {}
  FdSlot& operator=(FdSlot&& other) noexcept {
    release();
    held_ = std::exchange(other.held_, false);
    return *this;
  }
  ~FdSlot() { release(); }

  explicit operator bool() const { return held_; }

 private:
  friend class FdBudget;
  explicit FdSlot(bool held) : held_(held) {}
  void release();

  bool held_ = false;
};

class FdBudget {
 public:
  // Raises RLIMIT_NOFILE as far as the process may. The budget is three quarters of it, at most a sixth of the host's
  // files, and at most 2^18. The first call decides: it has to come while /proc is there. Sessions call this, too.
  static void raise_limit();
  // Takes one descriptor out of the budget. Returns an empty slot if the budget is spent. Any thread may call this.
  static FdSlot take();
  // Returns true if more than half of the budget is used. READDIRPLUS then opens no files that nobody has asked for by
  // name.
  static bool is_scarce() { return used_.load(std::memory_order_relaxed) > limit_.load(std::memory_order_relaxed) / 2; }

  static size_t used() { return used_; }
  static size_t limit() { return limit_; }
  static void set_limit_for_test(size_t limit) { limit_ = limit; }

 private:
  friend class FdSlot;
  static inline std::atomic<size_t> used_{0};
  static inline std::atomic<size_t> limit_{768};
};

inline void FdSlot::release() {
  if (std::exchange(held_, false)) FdBudget::used_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace nacre::virtio::fs
