// SPDX-License-Identifier: Apache-2.0
// A vmm that somebody has taken over: the real one, in which one thread tries one thing that an attacker would try,
// after the thread has locked itself in. If the thread survives, vmm says "tried" on stdout, and what came of it when
// vmm ends.
//
//   taken-over list              prints the attempts, one a line
//   taken-over KIND ATTEMPT ...  the rest is vmm's command line
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <string_view>

#include "tests/support/attempts.h"
#include "vmm/cli.h"

namespace {

using nacre::testing::Attempt;
using nacre::testing::kAttempts;
using nacre::vmm::ThreadKind;

const char* name_of(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::main:
      return "main";
    case ThreadKind::vcpu:
      return "vcpu";
    case ThreadKind::file_server:
      return "file-server";
    case ThreadKind::net:
      return "net";
    case ThreadKind::node_maker:
      return "node-maker";
  }
  return "";
}

// What came of the attempt, in memory that the maker of nodes, which has no other way to tell, shares with vmm.
struct Outcome {
  bool tried;
  int error;  // an errno value; 0: it was done
};

void say(std::string_view line) {
  [[maybe_unused]] ssize_t n = ::write(STDOUT_FILENO, line.data(), line.size());
}

void run(const Attempt& attempt, Outcome& outcome) {
  bool failed = attempt.run() < 0;
  outcome = {.tried = true, .error = failed ? errno : 0};
  say("tried\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "list") {
    for (const Attempt& attempt : kAttempts) std::puts(attempt.name);
    return 0;
  }
  if (argc < 3) return 1;
  std::string_view kind = argv[1], name = argv[2];
  argv[2] = argv[0];
  void* shared = ::mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto& outcome = *new (shared) Outcome{};
  int status = nacre::vmm::main(argc - 2, argv + 2, [&](ThreadKind locked) {
    if (name_of(locked) != kind) return;
    for (const Attempt& attempt : kAttempts) {
      if (attempt.name == name) run(attempt, outcome);
    }
  });
  if (outcome.tried) say(std::string(outcome.error == 0 ? "done" : ::strerrorname_np(outcome.error)) + "\n");
  return status;
}
