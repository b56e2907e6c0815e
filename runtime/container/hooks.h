// Programs of the caller that run on the host at certain points of a container's life: runtime-spec 1.2, config.md,
// "POSIX-platform Hooks". The kind startContainer runs in the guest (guest-init/child/hooks.cc).
//
// `hooks` is "hooks" of config.json, checked; null: none.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

bool has_hooks(const nlohmann::json& hooks, std::string_view kind);

// The container's state as hooks get it on standard input. `pid` 0: there is no process any more.
std::string hook_state(const Record& record, std::string_view status, pid_t pid);

// Runs the hooks of a kind, in order, until one fails: "error running KIND hook #0: exit status 1, stdout: , stderr: ".
Result<void> run_hooks(const nlohmann::json& hooks, std::string_view kind, const std::string& state);

// For the kind whose failure changes nothing any more: runs them all, and logs each failure as a warning.
void run_late_hooks(const nlohmann::json& hooks, std::string_view kind, const std::string& state);

// How long the guest may take to start the first process: its startContainer hooks may take their time.
int start_timeout_ms(const nlohmann::json& hooks);

}  // namespace nacre::runtime
