// SPDX-License-Identifier: Apache-2.0
// Makes text of strangers fit for terminals and logs.
#pragma once

#include <string>
#include <string_view>

namespace nacre {

// Puts `instead` in the place of control characters (the C1 set too: U+009B begins a terminal's escape sequence), of
// characters that reorder text, and of bytes that are not UTF-8.
std::string printable(std::string_view text, char instead);

}  // namespace nacre
