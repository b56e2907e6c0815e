// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <unistd.h>
#include <ctime>
#include <string>

#include "base/printable.h"

namespace nacre {

namespace {

constexpr int64_t kWindowSeconds = 10;

LogSink& sink() {
  static LogSink instance;
  return instance;
}

}  // namespace

void set_log_sink(LogSink new_sink) {
  sink() = std::move(new_sink);
}

std::string one_line(std::string_view text) {
  return printable(text, ' ');
}

void log(LogLevel level, std::string_view line) {
  if (sink()) {
    sink()(level, line);
    return;
  }
  if (level < LogLevel::warn) return;
  std::string text = one_line(line) + '\n';
  // A logger has nobody to tell that stderr is gone.
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

void LogLimiter::warn(std::string_view line) {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t start = window_start_.load(std::memory_order_relaxed);
  if (now.tv_sec - start >= kWindowSeconds || start == 0) {
    if (window_start_.compare_exchange_strong(start, now.tv_sec == 0 ? 1 : now.tv_sec)) {
      uint32_t seen = in_window_.exchange(0);
      if (seen > burst_) log_warn(std::to_string(seen - burst_) + " more lines of this kind were dropped");
    }
  }
  if (in_window_.fetch_add(1, std::memory_order_relaxed) < burst_) log_warn(line);
}

}  // namespace nacre
