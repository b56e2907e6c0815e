// SPDX-License-Identifier: Apache-2.0
// Carries out --pidfd-socket: sends the caller a pidfd of the stand-in, as runc 1.2 does for the container's process.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace nacre::runtime {

// runc's names for the kinds of process that a pidfd is for.
inline constexpr std::string_view kFirstProcess = "standard";
inline constexpr std::string_view kExecProcess = "setns";

// Sends one message, `name` with the pidfd of `pid`, to the AF_UNIX socket at `path`. Does nothing if `path` is empty.
Result<void> send_pidfd(const std::string& path, pid_t pid, std::string_view name);

}  // namespace nacre::runtime
