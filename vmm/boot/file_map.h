// Copies or maps a piece of a file over guest RAM.
#pragma once

#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"

namespace nacre::vmm {

inline constexpr uint64_t kPageSize = 4096;

Result<uint64_t> regular_file_size(const Fd& file);

// Reads exactly `out` from `offset`.
Result<void> read_at(const Fd& file, uint64_t offset, std::span<std::byte> out);

// Makes `size` bytes of the file from `offset` appear at `to`. What follows up to the page's end becomes zero.
Result<void> place_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size);

}  // namespace nacre::vmm
