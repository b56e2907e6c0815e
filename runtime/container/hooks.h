// SPDX-License-Identifier: Apache-2.0
// Runs hooks: programs of the caller that run on the host at certain points of a container's life: runtime-spec 1.2,
// config.md, "POSIX-platform Hooks". The kind startContainer runs in the guest (guest-init/child/hooks.cc).
//
// `hooks` is "hooks" of config.json, checked; null if there are none.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

bool has_hooks(const nlohmann::json& hooks, std::string_view kind);

// Returns the container's state as hooks get it on standard input. `pid` is 0 if the process has ended.
std::string hook_state(const Record& record, std::string_view status, pid_t pid);

// Runs the hooks of a kind, in order, until one fails: "error running KIND hook #0: exit status 1, stdout: , stderr: ".
Result<void> run_hooks(const nlohmann::json& hooks, std::string_view kind, const std::string& state);

// Runs all hooks of a kind, and logs each failure as a warning. For hooks whose failure must not change the outcome.
void run_late_hooks(const nlohmann::json& hooks, std::string_view kind, const std::string& state);

// Returns the milliseconds that the guest may take to start the first process. startContainer hooks prolong the time.
int start_timeout_ms(const nlohmann::json& hooks);

}  // namespace nacre::runtime
