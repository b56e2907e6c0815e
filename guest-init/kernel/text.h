// SPDX-License-Identifier: Apache-2.0
// Reads what the kernel says of processes that may end, or hang, meanwhile.
#pragma once

#include <optional>
#include <string>

namespace nacre::guest {

// Returns the first `limit` bytes of a file of /proc; nothing if it cannot be opened or read. A relative path is below
// `directory`.
std::optional<std::string> read_start(int directory, const std::string& path, size_t limit);

}  // namespace nacre::guest
