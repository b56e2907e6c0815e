// The process that stands for a container: its pid is the container's for everybody outside.
//
// It is forked by create or run, outlives them, owns the vmm process, forwards the signals that it gets to the
// container's first process, and ends as that process ended. A SIGKILL of it takes the VM with it; if the VM dies it
// dies by SIGKILL itself. exec has one of its own for each process (exec.h), without a VM.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/container/standin/terminal.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/plan/plan.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// What a stand-in is forked with: the plan of its container, and what the command has made for it.
struct StandinTask {
  std::string id;
  ContainerPlan plan;
  std::string cgroup;  // the host's cgroup to live in; empty: the caller's
  std::optional<resctrl::Group> resctrl;
  std::optional<Terminal> terminal;
  Record record;  // for hooks
  std::vector<PassedFd> passed_fds;
  bool held = false;  // `run`: the caller says over the report socket when to start, and listens to the outcome
};

// Returns true if the stand-in reports before it makes anything, and waits to be told (by a byte) that the hooks of the
// runtime's side have run.
bool waits_for_hooks(const StandinTask& task);

// What a stand-in tells the command that forked it, one packet each.
struct Report {
  bool ok = false;
  Processes processes;  // if ok
  std::string error;    // if not
  int code = 0;
};
Result<void> send_report(int socket, const Report& report);
// Waits for a report. A stand-in that ends without one is an error too.
Result<Report> receive_report(int socket);

// Runs in the forked child. `dir` is the parent's own object, whose lock is given up here. `report` is a SOCK_SEQPACKET
// socket. If the container cannot be made, or if its caller is gone before it was, nothing of it is left but the
// directory, which the caller removes if it can.
[[noreturn]] void run_standin(StandinTask task, ContainerDir& dir, Fd report);

}  // namespace nacre::runtime
