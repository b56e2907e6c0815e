// The ids of user namespaces and of mounts: "uidMappings" and "gidMappings".
#pragma once

#include <cstdint>
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

// For a user without privilege: in a user namespace, with no ids but his own. runc's words.
Result<void> check_own_ids(const nlohmann::json& linux, uint32_t uid, uint32_t gid);

}  // namespace nacre::oci
