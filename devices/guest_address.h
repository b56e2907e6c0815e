// SPDX-License-Identifier: Apache-2.0
// A guest-physical address: a type of its own, so that no host pointer, offset or length is taken for one.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace nacre {

struct GuestAddress {
  uint64_t value = 0;

  auto operator<=>(const GuestAddress&) const = default;

  // Nothing where the sum would wrap round.
  std::optional<GuestAddress> checked_add(uint64_t offset) const {
    uint64_t sum;
    if (__builtin_add_overflow(value, offset, &sum)) return std::nullopt;
    return GuestAddress{sum};
  }
};

}  // namespace nacre
