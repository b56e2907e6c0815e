// The log as callers of runc read it: "time=... level=... msg=..." or JSON objects, on stderr or in --log's file.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/cmd/command.h"

namespace nacre::cmd {

// Installs the sink of base/log.h.
//
// In JSON, lines below "error" wait until keep_log() and are dropped if the command fails: podman reads the whole file
// as one object then. --debug writes everything as it comes.
Result<void> open_log(const Globals& globals);
// The command has succeeded, or has come to where it only waits.
void keep_log();
// The one line of a failed command; with --log it stands on stderr as well, plainly.
void log_failure(const Globals& globals, const std::string& message);

}  // namespace nacre::cmd
