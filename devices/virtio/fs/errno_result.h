// SPDX-License-Identifier: Apache-2.0
// The result of a FUSE operation. Its error is a bare errno value, since the guest sees nothing else.
#pragma once

#include <cerrno>
#include <expected>

#include "base/result.h"  // TRY works on OrErrno too

namespace nacre::virtio::fs {

template <typename T = void>
using OrErrno = std::expected<T, int>;

inline std::unexpected<int> errno_of(int code) {
  return std::unexpected(code);
}

// Returns the error of the system call that has just failed. EMFILE becomes ENFILE: in the guest, EMFILE would mean the
// limit of the calling process, but what is full is a table of the file system.
inline std::unexpected<int> last_errno() {
  return std::unexpected(errno == EMFILE ? ENFILE : errno);
}

inline OrErrno<void> check(int system_call_result) {
  if (system_call_result < 0) return last_errno();
  return {};
}

}  // namespace nacre::virtio::fs
