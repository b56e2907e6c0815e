// A container's linux.resources as they are now. They are kept in its directory, since each update changes a part.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Writes them.
Result<void> keep_resources(const ContainerDir& dir, const nlohmann::json& resources);
// Reads them; returns {} if none were kept.
Result<nlohmann::json> kept_resources(const ContainerDir& dir);

}  // namespace nacre::runtime
