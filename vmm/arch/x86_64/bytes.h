// SPDX-License-Identifier: Apache-2.0
// Little-endian encoding into a string of bytes.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>

namespace nacre::vmm::x86_64 {

template <std::unsigned_integral T>
std::string le(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); i++) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

}  // namespace nacre::vmm::x86_64
