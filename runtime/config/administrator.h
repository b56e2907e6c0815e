// SPDX-License-Identifier: Apache-2.0
// Reads what the host's administrator has decided for all containers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace nacre::oci {

// TOML. A host need not have this file.
inline constexpr const char* kAdministratorFile = "/etc/nacre/config.toml";

struct AdministratorLimits {
  // max-vm-memory, as "8G": an annotation may make a VM so large even if its container has a smaller memory limit.
  std::optional<uint64_t> max_vm_memory;
};

// Returns no limits if there is no such file. An unknown key is an error, so that no limit is without effect.
Result<AdministratorLimits> read_administrator_limits(const std::string& path);

}  // namespace nacre::oci
