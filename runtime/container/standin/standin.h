// SPDX-License-Identifier: Apache-2.0
// The stand-in is the process that stands for a container on the host: everybody outside sees its pid as the
// container's.
//
// create or run forks the stand-in, which outlives the command. It owns the vmm process, forwards its signals to the
// container's first process, and ends as that process ended. A SIGKILL of the stand-in ends the VM too. If the VM dies,
// the stand-in dies by SIGKILL. exec forks a stand-in without a VM for each process (exec.h).
//
// The files of this folder:
//   host_namespaces.h   the container's namespaces on the host, and its mounts as seen from there
//   session.h           one process in the guest: requests, stdio, signals, its end
//   terminal.h          the host's end of a process's terminal
//   followed_mounts.h   the host's mounts that a running container follows
//   inherited_fds.h, passed_fds.h   the caller's descriptors: those to close, and those that the container gets
//   notify.h, title.h   sd_notify(3), and the command line that ps shows
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

// The input of a stand-in: the plan of its container, and what the command has made for the container.
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

// Returns true if the stand-in reports before it makes anything, and then waits for a byte, which tells that the hooks
// in the runtime's namespaces have run.
bool waits_for_hooks(const StandinTask& task);

// A report of a stand-in to the command that forked it. Each is one packet.
struct Report {
  bool ok = false;
  Processes processes;  // if the step succeeded
  std::string error;    // if the step failed
  int code = 0;
};
Result<void> send_report(int socket, const Report& report);
// Waits for a report. Fails if the stand-in ends without one.
Result<Report> receive_report(int socket);

// Runs in the forked child. `dir` is the parent's own object, whose lock is given up here. `report` is a SOCK_SEQPACKET
// socket. If the container cannot be made, or if the caller ends before that, only the container's directory is
// left, and the caller removes it if it can. An exception would undo in this process what belongs to its parent, so
// this function lets none out.
[[noreturn]] void run_standin(StandinTask task, ContainerDir& dir, Fd report) noexcept;

}  // namespace nacre::runtime
