// SPDX-License-Identifier: Apache-2.0
#include "base/printable.h"

#include <cstdint>
#include <utility>

namespace nacre {

namespace {

// Returns the code point that `text` begins with, and its length. Bytes that are not UTF-8 (RFC 3629) give code point 0
// and length 1: terminals differ in what they make of them.
std::pair<uint32_t, size_t> code_point(std::string_view text) {
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};  // by length: less has a shorter form
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  size_t length = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if ((byte(0) >= 0x80 && byte(0) < 0xc0) || byte(0) >= 0xf8 || length > text.size()) return {0, 1};
  uint32_t value = length == 1 ? byte(0) : byte(0) & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    // An error's text need not be UTF-8, and the next byte may be a control character.
    if ((byte(i) & 0xc0) != 0x80) return {0, 1};
    value = value << 6 | (byte(i) & 0x3f);
  }
  bool is_surrogate = value >= 0xd800 && value < 0xe000;
  if (value < kLeast[length] || value > 0x10ffff || is_surrogate) return {0, 1};
  return {value, length};
}

bool is_printable(uint32_t c) {
  bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  bool reorders =
      c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
  return !control && !reorders;
}

}  // namespace

std::string printable(std::string_view text, char instead) {
  std::string result;
  while (!text.empty()) {
    auto [c, length] = code_point(text);
    if (is_printable(c)) {
      result += text.substr(0, length);
    } else {
      result += instead;
    }
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace nacre
