// Namespaces that are given by a path.
//
// Where that is one of another container of ours (/proc/PID/ns/ipc of its stand-in, or what is bound there), and of a
// kind that lives in the guest alone (pid, ipc, mount, cgroup, time), this container is made in that one's VM, and is
// in the very namespace.
//
// Without that, a VM can have a copy of some: of a user namespace, which is its mappings, and of names (uts). The
// container's is a new one that begins as the other is: two containers with one user namespace own the same files on
// the host. What is not in there is the identity: a name that is changed later is not the other's.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/config/config.h"

namespace nacre::runtime {

// Takes the paths out of linux.namespaces: fills config.joins, or replaces them by what is found there, which is
// linux.uidMappings and linux.gidMappings, hostname and domainname. Containers of ours are looked for in `root`.
Result<void> resolve_namespaces(oci::Config& config, const std::string& root);

// For those who share it later: the mappings of a container, as in linux, or "" where it has no user namespace.
std::string kept_mappings(const oci::Config& config);

}  // namespace nacre::runtime
