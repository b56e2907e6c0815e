// A container's linux.resources as they are now, in its directory: each update changes a part of them.
#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::update {

Result<void> keep_resources(const runtime::ContainerDir& dir, const nlohmann::json& resources);
// {} where none were kept.
Result<nlohmann::json> kept_resources(const runtime::ContainerDir& dir);

}  // namespace nacre::update
