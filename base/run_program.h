// Running another program to its end: what it reads is given, what it writes is collected, how long it may take is
// limited.
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
  std::optional<std::vector<std::string>> environment;  // none: the parent's
  std::string input;                                    // on standard input; at most what a pipe holds, 1 MiB
  int timeout_ms = -1;                                  // then it is killed; -1: never
};

struct RunOutcome {
  ProcessExit exit;
  bool timed_out = false;
  std::string out, err;  // the first kMaxRunOutput bytes of each; the rest is read and dropped

  bool succeeded() const { return !timed_out && exit.signal == 0 && exit.status == 0; }
};
inline constexpr size_t kMaxRunOutput = 1900;

// What the caller of such a program is told where it failed: "exit status 1, stdout: , stderr: no such network".
Result<void> check_outcome(const RunOutcome& outcome, const RunOptions& options);

// An error is a program that could not be started. What the program leaves running in the background is not waited for.
Result<RunOutcome> run_program(const RunOptions& options);

}  // namespace nacre
