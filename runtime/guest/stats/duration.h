// SPDX-License-Identifier: Apache-2.0
// Parses durations in Go's form.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace nacre::stats {

// Parses "5s", "1m30s", "1.5h" or "200ms", like Go's time.ParseDuration.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace nacre::stats
