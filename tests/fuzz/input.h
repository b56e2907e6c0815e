// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: taking an input apart, saying what broke, and the surroundings of a run.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace nacre::fuzz {

// Ends the run with a line that says what broke, unless the condition holds.
inline void check(bool condition, std::string_view what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz: broken: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// Takes a fuzzer's input apart from its front. When the input is used up, everything more is zero.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(reinterpret_cast<const std::byte*>(data), size) {}

  bool empty() const { return left_.empty(); }
  size_t size() const { return left_.size(); }

  template <typename T>
  T take() {
    T value{};
    auto raw = bytes(sizeof(T));
    if (!raw.empty()) std::memcpy(&value, raw.data(), raw.size());
    return value;
  }
  // Takes up to `size` bytes.
  std::span<const std::byte> bytes(size_t size) {
    auto taken = left_.first(std::min(size, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() { return bytes(left_.size()); }

  // Take up to `size` bytes, or the rest, as a text of their own: an access beyond its end is found.
  std::string text(size_t size) {
    auto raw = bytes(size);
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  std::string text() { return text(left_.size()); }
  // Takes a text whose length is the first byte.
  std::string short_text() {
    size_t size = take<uint8_t>();
    return text(size);
  }
  // Takes the bytes up to a separator, which is dropped.
  std::string text_until(char separator) {
    auto end = std::ranges::find(left_, std::byte(separator));
    std::string taken = text(static_cast<size_t>(end - left_.begin()));
    (void)bytes(1);
    return taken;
  }

  // Chooses one of a list's items.
  template <typename List>
  auto& one_of(List& list) {
    return list[take<uint8_t>() % std::size(list)];
  }

 private:
  std::span<const std::byte> left_;
};

// Counts the lines that the code under test has logged, and prints none.
inline std::atomic<size_t>& log_lines() {
  static std::atomic<size_t> lines = 0;
  static const bool installed = (set_log_sink([](LogLevel, std::string_view) { lines++; }), true);
  static_cast<void>(installed);
  return lines;
}
inline void silence_log() {
  (void)log_lines();
}

// A temporary directory. The destructor removes it with everything in it.
class Scratch {
 public:
  Scratch() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/nacre-fuzz-XXXXXX";
    check(::mkdtemp(path_.data()) != nullptr, "no temporary directory");
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// Returns whether a text is UTF-8 (RFC 3629): no byte out of place, no longer form than needed, no surrogate.
inline bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto first = static_cast<uint8_t>(text[i]);
    size_t more = first < 0x80 ? 0 : first < 0xc2 ? 9 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 9;
    if (more == 9 || i + more >= text.size()) return false;
    uint32_t value = more == 0 ? first : first & (0x3fu >> more);
    for (size_t k = 1; k <= more; k++) {
      auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      value = value << 6 | (next & 0x3f);
    }
    bool too_long = (more == 2 && value < 0x800) || (more == 3 && value < 0x10000);
    if (too_long || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace nacre::fuzz
