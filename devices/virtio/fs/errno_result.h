// What a FUSE operation fails with: a bare errno value, since that is all that its guest gets to see.
#pragma once

#include <cerrno>
#include <expected>

#include "base/result.h"  // TRY works on these too

namespace nacre::virtio::fs {

template <typename T = void>
using OrErrno = std::expected<T, int>;

inline std::unexpected<int> errno_of(int code) {
  return std::unexpected(code);
}

// For a system call that has just failed. Running out of the process's own descriptors is no fault of the guest's
// process, whose limit EMFILE would name: to the guest it is its file system's table that is full.
inline std::unexpected<int> last_errno() {
  return std::unexpected(errno == EMFILE ? ENFILE : errno);
}

inline OrErrno<void> check(int system_call_result) {
  if (system_call_result < 0) return last_errno();
  return {};
}

}  // namespace nacre::virtio::fs
