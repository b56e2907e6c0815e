// The ids of user namespaces and of mounts: "uidMappings" and "gidMappings".
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace nacre::oci {

// Each list as the kernel takes it: no range is empty or goes past the last id, none overlaps another. `path` names
// the list in errors.
Result<void> check_mappings(const nlohmann::json& list, const std::string& path);

// linux.uidMappings and linux.gidMappings with the user namespace of linux.namespaces.
Result<void> check_user_namespace(const nlohmann::json& linux, std::vector<std::string>& warnings);

}  // namespace nacre::oci
