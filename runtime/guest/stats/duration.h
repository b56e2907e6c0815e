// Durations as Go writes them.
#pragma once

#include <chrono>
#include <string_view>

#include "base/result.h"

namespace nacre::stats {

// "5s", "1m30s", "1.5h", "200ms": time.ParseDuration.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace nacre::stats
