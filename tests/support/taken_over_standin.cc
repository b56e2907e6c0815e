// SPDX-License-Identifier: Apache-2.0
// A stand-in that somebody has taken over, or what counts of one: a process that locks itself in as a stand-in does,
// and tries one thing then. Says on stdout what came of it.
//
//   taken-over-standin list           prints the attempts, one a line
//   taken-over-standin KIND ATTEMPT   KIND is "stand-in", "exec" or "mounts"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "runtime/container/standin/lock.h"
#include "tests/support/attempts.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "list") {
    for (const auto& attempt : nacre::testing::kAttempts) std::puts(attempt.name);
    return 0;
  }
  if (argc != 3) return 1;
  std::string_view kind = argv[1], name = argv[2];
  auto locked = kind == "mounts" ? nacre::runtime::lock_mount_follower()
                : kind == "exec" ? nacre::runtime::lock_exec()
                                 : nacre::runtime::lock_standin();
  if (!locked) {
    std::fputs(locked.error().message().c_str(), stderr);
    return 1;
  }
  for (const auto& attempt : nacre::testing::kAttempts) {
    if (attempt.name != name) continue;
    int error = attempt.run() < 0 ? errno : 0;
    std::puts(error == 0 ? "done" : ::strerrorname_np(error));
  }
  std::fflush(stdout);
  ::syscall(SYS_exit, 0);  // ends the process, which has one thread; exit_group(2) may not be on the list
}
