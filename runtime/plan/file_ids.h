// SPDX-License-Identifier: Apache-2.0
// The ids of the host that the owners of a container's files have. If the container has a user namespace, vmm needs no
// others, and so has no power over anybody else's files, whatever the guest's kernel does.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/config/config.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

struct FileIds {
  std::vector<vmm::IdRange> uids, gids;  // empty: all. Each begins with the id of the container's root.
};

// `mappings` is {uidMappings, gidMappings} of the container's user namespace; null: it has none. A mount whose ids are
// mapped has files that belong to the ids of its own mapping: their ids are added.
FileIds file_ids(const nlohmann::json& mappings, const std::vector<oci::Mount>& mounts);

// Returns true if a VM whose vmm has the ids `all` can serve files of the owners `wanted`. An empty list is all ids.
bool covers(const std::vector<vmm::IdRange>& all, const std::vector<vmm::IdRange>& wanted);

}  // namespace nacre::runtime
