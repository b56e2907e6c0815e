// SPDX-License-Identifier: Apache-2.0
// Copies or maps a piece of a file over guest RAM.
//
// A file is mapped copy-on-write if page offsets allow it: pages that the guest never touches are never read, and what
// it only reads is shared with the page cache. Guest memory that others share is always copied to.
#pragma once

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

// Makes `size` bytes of the file from `offset` appear at `to`, mapped if possible.
Result<void> place_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size);

// Copies the bytes there instead, for a guest that changes them, or frees their memory and uses it again. A changed
// page costs three exits if it was mapped (the guest reads the file's page, loses that page to the copy, and gets the
// copy), and one at most if it was copied. Padding is still mapped, since the guest may never touch it: an aligned 16
// KiB of the file, or what of them lies in the piece, that has one value throughout.
Result<void> copy_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size);

}  // namespace nacre::vmm
