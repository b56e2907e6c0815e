// SPDX-License-Identifier: Apache-2.0
// Runs another program to its end, with given input, collected output and a time limit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/subprocess.h"

namespace nacre {

struct RunOptions {
  std::string path;
  std::vector<std::string> args;                        // args[0] included
  std::optional<std::vector<std::string>> environment;  // nullopt: the parent's
  std::string input;                                    // on standard input; at most what a pipe holds, 1 MiB
  int timeout_ms = -1;                                  // the program is killed after this time; -1: never
};

struct RunOutcome {
  ProcessExit exit;
  bool timed_out = false;
  std::string out, err;  // the first kMaxRunOutput bytes of each; the rest is read and dropped

  bool succeeded() const { return !timed_out && exit.signal == 0 && exit.status == 0; }
};
inline constexpr size_t kMaxRunOutput = 1900;

// Returns an error if the program failed, such as "exit status 1, stdout: , stderr: no such network".
Result<void> check_outcome(const RunOutcome& outcome, const RunOptions& options);

// Fails if the program cannot be started. Does not wait for what the program leaves running in the background.
Result<RunOutcome> run_program(const RunOptions& options);

}  // namespace nacre
