// SPDX-License-Identifier: Apache-2.0
// linux.memoryPolicy (runtime-spec 1.3, config-linux.md, "Memory policy"): the memory nodes of the host that a
// container's memory comes from. That is the VM's memory: the stand-in takes the policy, and vmm, its child, inherits
// it.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// As set_mempolicy(2) takes it.
struct MemoryPolicy {
  int mode = 0;  // with its flags
  std::vector<unsigned long> nodes;
};

// Reads the policy of a "linux" object whose types are checked, if it has one. Errors have runc's words.
Result<std::optional<MemoryPolicy>> memory_policy(const nlohmann::json& linux);

// Return the words that a policy may have, for `features`.
std::vector<std::string_view> memory_policy_modes();
std::vector<std::string_view> memory_policy_flags();

// Sets the policy of the calling thread and of what it starts.
Result<void> take_memory_policy(const MemoryPolicy& policy);

}  // namespace nacre::runtime
