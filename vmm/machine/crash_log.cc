// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/crash_log.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace nacre::vmm {

namespace {

// Registers of the 16550A, and bits of its line status register.
constexpr uint64_t kTransmit = 0;
constexpr uint64_t kLineStatus = 5;
constexpr auto kTransmitterEmpty = std::byte{0x60};  // holding register and shift register

// Marks the lines in which Linux says what it dies of: each has one of these words. They are from arch/x86/mm/fault.c,
// kernel/panic.c, arch/x86/kernel/dumpstack.c and arch/x86/kernel/traps.c.
constexpr std::array<std::string_view, 8> kTelling = {
    "Kernel panic", "BUG:", "Oops", "RIP:", "CPU:", "general protection fault", "segfault", "traps:"};

// Returns the line without the time stamp of printk, "[    0.123456] ".
std::string_view without_time(std::string_view line) {
  size_t end = line.find("] ");
  return line.starts_with('[') && end != std::string_view::npos ? line.substr(end + 2) : line;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t end = std::min(text.find_first_of("\r\n"), text.size());
    if (end > 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool is_telling(std::string_view line) {
  if (line.contains("---[")) return false;  // says again what an oops or a panic began with
  return std::ranges::any_of(kTelling, [&](std::string_view word) { return line.contains(word); });
}

}  // namespace

void CrashLog::read(uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
  if (offset == kLineStatus) data[0] = kTransmitterEmpty;
}

void CrashLog::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset != kTransmit) return;
  MutexLock lock(mutex_);
  text_.push_back(static_cast<char>(data[0]));
  // Half of the text goes at once, not a byte for each byte that comes.
  if (text_.size() > 2 * kLimit) text_.erase(0, text_.size() - kLimit);
}

std::string CrashLog::summary() const {
  MutexLock lock(mutex_);
  std::string_view text = text_;
  text.remove_prefix(text.size() - std::min(text.size(), kLimit));
  std::vector<std::string_view> lines = split_lines(text);
  std::string summary;
  for (std::string_view line : lines) {
    if (!is_telling(line)) continue;
    if (!summary.empty()) summary += "; ";
    summary += without_time(line);
  }
  if (summary.empty() && !lines.empty()) summary = without_time(lines.back());
  if (summary.size() > kMaxSummary) summary.resize(kMaxSummary);
  // The guest chose the bytes: keep what any reader of the message can show.
  std::ranges::replace_if(summary, [](unsigned char c) { return c > '~'; }, '?');
  return one_line(summary);
}

}  // namespace nacre::vmm
