// SPDX-License-Identifier: Apache-2.0
// linux.seccomp of config.json as values, each checked.
#pragma once

#include <seccomp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace nacre::seccomp {

struct Rule {
  std::string path;  // of the field, for errors
  std::vector<std::string> names;
  uint32_t action = 0;
  std::vector<scmp_arg_cmp> conditions;
};

struct Profile {
  uint32_t default_action = 0;
  std::optional<uint32_t> default_errno;
  std::vector<uint32_t> architectures;  // SCMP_ARCH_*; beside the native one
  uint32_t flags = 0;                   // SECCOMP_FILTER_FLAG_*
  std::vector<Rule> rules;
};

// None if the profile asks for nothing, as {} does under runc. Types are checked already (config/tables.cc).
Result<std::optional<Profile>> read_profile(const nlohmann::json& seccomp, const std::string& path);

}  // namespace nacre::seccomp
