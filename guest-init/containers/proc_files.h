// A container's /proc, for programs of the host that look for it where the container's root is (podman top).
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>

namespace nacre::guest {

// The "procfs" reply (protocol.h) for the pid namespace of `pid`, or an error. May block.
nlohmann::json read_proc_files(pid_t pid);

}  // namespace nacre::guest
