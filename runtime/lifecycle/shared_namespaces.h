// Namespaces that are given by a path and that a VM can have a copy of: user namespaces, which are their mappings, and
// those of names (uts).
//
// The container's is a new one in its VM that begins as the other is: two containers with one user namespace own the
// same files on the host. What is not in there is the identity: a name that is changed later is not the other's.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/oci/config.h"

namespace nacre::runtime {

// Replaces the paths of such namespaces by what is found there: linux.uidMappings and linux.gidMappings, hostname and
// domainname. A path to a container of ours (/proc/PID/ns/user) is to its namespace in the guest; `root` is where it
// is looked for.
Result<void> copy_shared_namespaces(oci::Config& config, const std::string& root);

// For those who share it later: the mappings of a container, as in linux, or "" where it has no user namespace.
std::string kept_mappings(const oci::Config& config);

}  // namespace nacre::runtime
