// linux.memoryPolicy (runtime-spec 1.3, config-linux.md, "Memory policy"): from which memory nodes of the host a
// container's memory comes. Its memory is the VM's: the stand-in takes the policy, and vmm, its child, has it too.
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

// Of the "linux" object of a configuration whose types are checked; none where that has none. Errors have runc's words.
Result<std::optional<MemoryPolicy>> memory_policy(const nlohmann::json& linux);

// The words that it may have, for `features`.
std::vector<std::string_view> memory_policy_modes();
std::vector<std::string_view> memory_policy_flags();

// For this thread and what it starts.
Result<void> take_memory_policy(const MemoryPolicy& policy);

}  // namespace nacre::runtime
