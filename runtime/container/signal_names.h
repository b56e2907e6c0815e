// Signals as callers name them.
#pragma once

#include <string_view>

#include "base/result.h"

namespace nacre::runtime {

// "KILL", "SIGKILL", "sigkill", "9"; 0 asks whether the process is there.
Result<int> parse_signal(std::string_view text);

}  // namespace nacre::runtime
