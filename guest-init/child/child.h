// SPDX-License-Identifier: Apache-2.0
// What runs in a new process between its clone and its execve: it turns itself into the process that a specification
// describes. One step per file; each failure names its step.
//
// A child is a copy of guest-init with one thread, so it may allocate and use the library. It must never return into
// guest-init's event loop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/rootfs.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

struct ChildPlan {
  int control = -1;              // SOCK_SEQPACKET to guest-init, see channel.h
  std::vector<int> descriptors;  // the child's ends, by their number in the process; -1: /dev/null
  // Detached mounts for the container's mounts and devices (containers/device_node.h), by their index; -1: there is
  // none.
  std::vector<int> trees, nodes;
  // For exec: the process whose namespaces are joined, and CLONE_NEW* of those that are not the machine's. For a first
  // process: the process whose mount namespace is joined.
  int init_pidfd = -1;
  uint64_t namespaces = 0;
};

// Closes the descriptors of guest-init, except those that the plan names and `others`. They belong to other containers:
// a copy of the writing end of another's stdin would keep that stdin from ending.
void close_others(const ChildPlan& plan, const std::vector<int>& others = {});

// Builds the container and becomes its first process. The caller is in the container's cgroup and namespaces already,
// except for a new cgroup namespace and another container's mount namespace.
[[noreturn]] void run_first_process(const ContainerSpec& spec, ChildPlan plan);
// Joins a container and becomes a process of it. The caller is in the container's pid namespace and cgroup already.
[[noreturn]] void run_exec_process(const ProcessSpec& spec, ChildPlan plan);

// A pseudo-terminal of the container's devpts.
struct Terminal {
  Fd master, slave;
};

// The steps:

// Enters the new namespaces that clone could not make. In a user namespace, waits until guest-init has written the ids
// (wait_for_go()).
Result<void> enter_new_namespaces(const ContainerSpec& spec, const ChildPlan& plan);
Result<void> join_namespaces(const ChildPlan& plan);
Result<void> join_mounts(const ChildPlan& plan);

// Mounts the root and everything below it, and makes it "/". Leaves the working directory "/". Returns the terminal of
// the first process, if it is to have one.
Result<std::optional<Terminal>> build_root(const ContainerSpec& spec, const ChildPlan& plan);
// Copies the content of a directory into another one, with owners and modes, for tmpcopyup.
Result<void> copy_directory(int from, int to);
// Makes a detached mount whose files' ids are mapped. guest-init calls this: the child has no right to do so if it is
// in a user namespace. If the source lies in the container's root, which the child alone sees, returns the user
// namespace whose ids the child is to map.
Result<Fd> make_mapped_tree(const MountSpec& mount);
// Makes the container's devices and the default ones. `nodes` are detached mounts of the former
// (containers/device_node.h), by their index; they are attached if the node cannot be made.
Result<void> make_devices(const Rootfs& root, const std::vector<DeviceSpec>& devices, const std::vector<int>& nodes);

Result<Terminal> open_terminal(const Rootfs& root, const TerminalSpec& spec, uid_t owner);
// Shows the terminal as /dev/console.
Result<void> bind_console(const Rootfs& root, const Terminal& terminal);
// Makes the terminal the controlling one of this session, and its standard streams.
Result<void> take_terminal(const Terminal& terminal);

// Applies limits. That takes rights over the machine, which root of a user namespace does not have: then guest-init
// does it to its child. pid 0: the calling process.
Result<void> apply_limits(pid_t pid, const ProcessSpec& process);
Result<void> apply_exec_affinity(const ProcessSpec& process);
// Takes user, groups, working directory, umask and capabilities. Afterwards the process has no right that `process`
// does not give it.
Result<void> become_user(const ProcessSpec& process);
// Installs the filter. From then on the process, and what it executes, makes only the system calls that the filter lets
// through. Needs CAP_SYS_ADMIN or no_new_privs.
Result<void> install_seccomp(const SeccompFilter& filter);

// Runs the hooks in order, with the calling process's user and namespaces. The first hook that fails is the error.
Result<void> run_start_hooks(const StartHooks& start, const std::vector<std::string>& environment);

// Finds the program for args[0] in the PATH of the process's own environment, as the calling process may. Errors read
// as those of runc, since callers match their text.
Result<std::string> find_program(const ProcessSpec& process);
// Returns the environment, with HOME from the container's /etc/passwd if the caller has given none, or an empty one, as
// runc does.
std::vector<std::string> complete_environment(const ProcessSpec& process);

}  // namespace nacre::guest
