// SPDX-License-Identifier: Apache-2.0
// Writes the log in the form that callers of runc read: "time=... level=... msg=..." or JSON objects, on stderr or in
// --log's file.
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
// Writes the lines that were held back. Called when the command has succeeded, or when it only waits from then on.
void keep_log();
// Logs the error of a failed command, in one line. With --log the plain error is printed on stderr too.
void log_failure(const Globals& globals, const std::string& message);

}  // namespace nacre::cmd
