// SPDX-License-Identifier: Apache-2.0
// Makes detached mounts, with fsopen(2), open_tree(2) and the like.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

// Makes a file system and returns a detached mount for move_mount(2). `options` are the file system's own, "NAME" or
// "NAME=VALUE"; `attributes` are MOUNT_ATTR_*. If the file system explains an error, such as "tmpfs: Bad value for
// 'size'", the error has these words.
Result<Fd> make_filesystem(const std::string& type, const std::string& source, const std::vector<std::string>& options,
                           uint64_t attributes);

// Returns a detached copy of the mount at `path`, from `path` down. Nothing above `path` can be reached through the
// copy. An empty `path` means `directory` itself.
Result<Fd> clone_tree(int directory, const std::string& path, bool recursive);

}  // namespace nacre
