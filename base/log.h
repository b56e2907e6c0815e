// SPDX-License-Identifier: Apache-2.0
// Logging as the lower layers see it: a level, a line, and a sink that each program installs.
//
// base/ must link into the guest's static binary, so it knows no logging library; vmm and nacre install a sink that
// hands lines to spdlog. Without a sink, lines of level warn and above go to stderr.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace nacre {

enum class LogLevel { debug, info, warn, error };

using LogSink = std::function<void(LogLevel, std::string_view)>;

// Installs the sink. Call once, before threads exist. The sink is called from any thread and must do its own locking.
void set_log_sink(LogSink sink);

// Returns text as one line: what a terminal would act on becomes spaces (base/printable.h). What is shown to a person
// goes through this, since errors quote names that a guest or a configuration has chosen, with line breaks or
// characters that move the cursor.
std::string one_line(std::string_view text);

void log(LogLevel level, std::string_view line);
inline void log_debug(std::string_view line) {
  log(LogLevel::debug, line);
}
inline void log_info(std::string_view line) {
  log(LogLevel::info, line);
}
inline void log_warn(std::string_view line) {
  log(LogLevel::warn, line);
}
inline void log_error(std::string_view line) {
  log(LogLevel::error, line);
}

// Limits lines that a guest can cause: at most `burst` lines per ten seconds pass, and the rest are counted, so that no
// guest can fill the host's disk. Every such line must go through a LogLimiter (CONTRIBUTING.md, "Hostile input"). Use
// one object per kind of line, from any thread.
class LogLimiter {
 public:
  explicit LogLimiter(uint32_t burst = 10) : burst_(burst) {}
  void warn(std::string_view line);

 private:
  const uint32_t burst_;
  std::atomic<int64_t> window_start_{0};  // seconds of CLOCK_MONOTONIC
  std::atomic<uint32_t> in_window_{0};
};

}  // namespace nacre
