// Namespaces of other containers of this machine, which a new container is to be in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/field.h"

namespace nacre::guest {

using protocol::Field;

// "joins" of a create request: types of namespaces, in the specification's words, and the containers whose they are.
Result<std::map<std::string, std::string>> parse_joins(const Field& joins);

// The namespaces of one type, or more, of a living process.
struct NamespaceJoin {
  uint64_t flags = 0;  // CLONE_NEW*
  int pidfd = -1;      // of the container's first process; not owned
};

// The calling process, which has one thread, or its children (pid, time). Not mount namespaces, which a container's
// process joins itself, when it has what it needs of our own.
Result<void> enter_namespaces(const std::vector<NamespaceJoin>& joins);

}  // namespace nacre::guest
