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

// Does so by copying, but for padding: 64 KiB or more of one value, which the guest may never touch. For bytes that the
// guest changes, or frees and uses again. Such a page costs it three exits if it is mapped (it reads the file's page,
// loses that to the copy, and gets the copy) and one at most if it is copied.
Result<void> copy_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size);

}  // namespace nacre::vmm
