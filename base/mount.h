// File systems by the calls that make them before they are attached anywhere: fsopen(2) and its like.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

// A detached mount for move_mount(2). `options` are the file system's own, "NAME" or "NAME=VALUE"; `attributes` are
// MOUNT_ATTR_*. An error has the file system's words where it has any, such as "tmpfs: Bad value for 'size'".
Result<Fd> make_filesystem(const std::string& type, const std::string& source, const std::vector<std::string>& options,
                           uint64_t attributes);

// A detached copy of the mount at `path`, from there down: nothing above can be reached through it. "" is `directory`
// itself.
Result<Fd> clone_tree(int directory, const std::string& path, bool recursive);

}  // namespace nacre
