// SPDX-License-Identifier: Apache-2.0
// The ids of a user namespace (user_namespaces(7), runtime-spec, config-linux.md, "User namespace mappings").
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "oci/json_field.h"

namespace nacre::guest {

using oci::Json;
using oci::JsonField;

struct IdRange {
  uint32_t inside, outside, size;
};

struct IdMappings {
  std::vector<IdRange> uids, gids;
};

// Translates an id of the namespace to that of the machine's own namespace; returns nothing if it is not mapped.
std::optional<uint32_t> outside_id(const std::vector<IdRange>& ranges, uint32_t inside);

// Reads "uidMappings" and "gidMappings" of an object; returns nothing if it has neither.
Result<std::optional<IdMappings>> parse_mappings(const JsonField& object);

// Gives a process's new user namespace its ids. That works once, for a caller outside of it that has every right.
Result<void> write_mappings(pid_t pid, const IdMappings& mappings);

// Makes a user namespace in which there is no process, for mount_setattr(2).
Result<Fd> make_user_namespace(const IdMappings& mappings);

}  // namespace nacre::guest
