// SPDX-License-Identifier: Apache-2.0
// Copies a piece of a file to guest RAM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"
#include "devices/guest_memory.h"

namespace nacre::vmm {

inline constexpr uint64_t kPageSize = 4096;

Result<uint64_t> regular_file_size(const Fd& file);

// Fills `out` from `offset`. An end of file before that is an error.
Result<void> read_at(const Fd& file, uint64_t offset, std::span<std::byte> out);

// Copies `size` bytes of the file from `offset` to `to`. Mapping the file there would save memory, but it costs more
// than it saves: Linux writes to nearly every page of its image as it boots, each of these writes then costs three
// exits, and the host cannot use huge pages for RAM that has mapped pieces in it.
Result<void> copy_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size);

}  // namespace nacre::vmm
