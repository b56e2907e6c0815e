// The ids of a user namespace (user_namespaces(7), runtime-spec, config-linux.md, "User namespace mappings").
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/field.h"

namespace nacre::guest {

using protocol::Field;
using protocol::Json;

struct IdRange {
  uint32_t inside, outside, size;
};

struct IdMappings {
  std::vector<IdRange> uids, gids;
};

// An id of the namespace as the machine's own namespace knows it; none where it is not mapped.
std::optional<uint32_t> outside_id(const std::vector<IdRange>& ranges, uint32_t inside);

// "uidMappings" and "gidMappings" of an object; none where it has neither.
Result<std::optional<IdMappings>> parse_mappings(const Field& object);

// Gives a process's new user namespace its ids. By somebody outside with every right; once.
Result<void> write_mappings(pid_t pid, const IdMappings& mappings);

// A user namespace of its own, in which nobody is, for mount_setattr(2).
Result<Fd> make_user_namespace(const IdMappings& mappings);

}  // namespace nacre::guest
