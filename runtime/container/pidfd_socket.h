// `--pidfd-socket`: the caller gets a pidfd of the process that stands for the container's, as runc 1.2 gives it.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace nacre::runtime {

// runc's names for what the pidfd is of.
inline constexpr std::string_view kFirstProcess = "standard";
inline constexpr std::string_view kExecProcess = "setns";

// One message to the AF_UNIX socket at `path`: `name`, with the pidfd. No path: nothing.
Result<void> send_pidfd(const std::string& path, pid_t pid, std::string_view name);

}  // namespace nacre::runtime
