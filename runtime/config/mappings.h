// SPDX-License-Identifier: Apache-2.0
// The id mappings of user namespaces and of mounts: "uidMappings" and "gidMappings".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace nacre::oci {

// Checks that the kernel will take a list: no range is empty, goes past the last id or overlaps another. `path` names
// the list in errors.
Result<void> check_mappings(const nlohmann::json& list, const std::string& path);

// Checks linux.uidMappings and linux.gidMappings against the user namespace of linux.namespaces.
Result<void> check_user_namespace(const nlohmann::json& linux, std::vector<std::string>& warnings);

// Checks what a user without privilege may have: a user namespace, with no ids but his own. Errors have runc's words.
Result<void> check_own_ids(const nlohmann::json& linux, uint32_t uid, uint32_t gid);

}  // namespace nacre::oci
