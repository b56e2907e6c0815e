// SPDX-License-Identifier: Apache-2.0
// Parses names of signals.
#pragma once

#include <string_view>

#include "base/result.h"

namespace nacre::runtime {

// Accepts "KILL", "SIGKILL", "sigkill" and "9". Signal 0 only asks whether the process exists.
Result<int> parse_signal(std::string_view text);

}  // namespace nacre::runtime
