// SPDX-License-Identifier: Apache-2.0
// Keeps a container's current linux.resources in its directory, because each update changes a part of them.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Writes the resources.
Result<void> keep_resources(const ContainerDir& dir, const nlohmann::json& resources);
// Reads the resources. Returns {} if none were kept.
Result<nlohmann::json> kept_resources(const ContainerDir& dir);

}  // namespace nacre::runtime
