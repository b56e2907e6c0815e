// SPDX-License-Identifier: Apache-2.0
// linux.seccomp of config.json to the BPF program that the guest's kernel takes: on the host, since libseccomp and its
// tables of system calls are several times the size of guest-init.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "runtime/config/seccomp/profile.h"

namespace nacre::seccomp {

struct Filter {
  std::vector<sock_filter> program;
  uint32_t flags = 0;  // SECCOMP_FILTER_FLAG_*
};

// The program that runc would load. None if the profile asks for nothing.
Result<std::optional<Filter>> compile(const nlohmann::json& seccomp, const std::string& path);

// The filter as the "create" request carries it (protocol.h).
nlohmann::json to_message(const Filter& filter);

// What stands before the filter where unknown system calls are refused: those that are newer than any that the profile
// names give ENOSYS, so that programs fall back to older ones. Empty where that does not apply.
std::vector<sock_filter> enosys_prelude(const Profile& profile);

}  // namespace nacre::seccomp
