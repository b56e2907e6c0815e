// The process that stands for a container: its pid is the container's for everybody outside.
//
// It is forked by create or run, outlives them, owns the vmm process, forwards the signals that it gets to the
// container's first process, and ends as that process ended. A SIGKILL of it takes the VM with it; if the VM dies it
// dies by SIGKILL itself. exec has one of its own for each process (exec.h), without a VM.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/container/standin/host_namespaces.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/container/standin/terminal.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/plan/memory_policy.h"
#include "runtime/plan/translate.h"
#include "runtime/state/store.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

struct StandinPlan {
  std::string id;
  std::string vmm_program;
  vmm::Config vm;
  // Another container, whose VM is to be joined: of `vm` its share counts alone then.
  std::string vm_of = {};
  nlohmann::json joins = {}, shared_mounts = {};  // for the guest, see protocol.h
  nlohmann::json guest_config;
  nlohmann::json args;     // process.args
  nlohmann::json seccomp;  // the filter as the guest gets it; null: none
  std::string cgroup;      // host cgroup to live in; empty: the caller's
  std::optional<Terminal> terminal;
  nlohmann::json hooks;  // "hooks" of config.json
  Record record;         // what hooks are told
  HostNamespacePlan host;
  std::vector<ServedMount> served;  // the mounts of the configuration
  std::vector<HostFilesystem> filesystems;
  std::optional<MemoryPolicy> memory_policy;
  std::optional<resctrl::Group> resctrl = {};
  std::vector<PassedFd> passed_fds;
  bool notify = false;  // the container can say that it is ready
  bool held = false;    // run: the caller says over the report socket when to start, and listens to the outcome
};

// Whether the stand-in reports before it makes anything, and waits to be told (by a byte) that the hooks of the
// runtime's side have run.
bool waits_for_hooks(const StandinPlan& plan);

// What a stand-in tells the command that forked it, one packet each.
struct Report {
  bool ok = false;
  Processes processes;  // where ok
  std::string error;    // where not
  int code = 0;
};
Result<void> send_report(int socket, const Report& report);
// The stand-in's end without a word is an error too.
Result<Report> receive_report(int socket);

// In the forked child; never returns. `dir` is the parent's own object, whose lock is given up here. `report` is a
// SOCK_SEQPACKET socket. If the container cannot be made, or whoever
// asked for it is gone before it was, nothing of it is left but the directory, which the caller removes if it can.
[[noreturn]] void run_standin(StandinPlan plan, ContainerDir& dir, Fd report);

// Leaves what the caller must get back when the container closes it or ends: its stdio, which vmm holds by now, and its
// working directory.
void detach_from_caller();

// Descriptors above stderr that this program was started with: a long-lived process must not hold a caller's pipes
// open. The first call, before anything else is opened, notes them; the second, in the stand-in, closes them.
void note_inherited_fds();
void close_inherited_fds();
bool keep_inherited_fd(int fd);  // not to be closed; false if it is none of them

}  // namespace nacre::runtime
