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
  // Detached mounts, of the container's mounts and of its devices (containers/device_node.h); -1: none made.
  std::vector<int> trees, nodes;
  // For exec: the process whose namespaces are joined, and CLONE_NEW* of those that are not the machine's. For a first
  // process: that whose mount namespace is joined.
  int init_pidfd = -1;
  uint64_t namespaces = 0;
};

// Closes what guest-init had open, but for what the plan names and `others`: it belongs to other containers, and a copy
// of the writing end of another's stdin would keep that from ending.
void close_others(const ChildPlan& plan, const std::vector<int>& others = {});

// Builds the container and becomes its first process. Already in its namespaces, but for a new one of cgroups and
// another's mount namespace, and in its cgroup.
[[noreturn]] void run_first_process(const ContainerSpec& spec, ChildPlan plan);
// Joins a container; already in its pid namespace and cgroup.
[[noreturn]] void run_exec_process(const ProcessSpec& spec, ChildPlan plan);

// A pseudo-terminal of the container's devpts.
struct Terminal {
  Fd master, slave;
};

// The steps.

// The rest of what clone has begun. In a user namespace it waits for its ids (wait_for_go()), which guest-init writes.
Result<void> enter_new_namespaces(const ContainerSpec& spec, const ChildPlan& plan);
Result<void> join_namespaces(const ChildPlan& plan);
Result<void> join_mounts(const ChildPlan& plan);

// Mounts everything below the root, which is mounted itself, and takes it as "/". Leaves the working directory "/".
// Gives the terminal of the first process, if it is to have one.
Result<std::optional<Terminal>> build_root(const ContainerSpec& spec, const ChildPlan& plan);
// Copies what is in a directory, with owners and modes, into another one: for tmpcopyup.
Result<void> copy_directory(int from, int to);
// A detached mount whose files' ids are mapped. The child of a user namespace has not the right to make it.
Result<Fd> make_mapped_tree(const MountSpec& mount);
Result<void> make_devices(const Rootfs& root, const std::vector<DeviceSpec>& devices, const std::vector<int>& nodes);

Result<Terminal> open_terminal(const Rootfs& root, const TerminalSpec& spec, uid_t owner);
// Shows the terminal as /dev/console.
Result<void> bind_console(const Rootfs& root, const Terminal& terminal);
// Makes it the controlling terminal of this session, and its standard streams.
Result<void> take_terminal(const Terminal& terminal);

// What takes rights over the machine, which root of a user namespace has not: there guest-init does it to its child.
// pid 0: to ourselves.
Result<void> apply_limits(pid_t pid, const ProcessSpec& process);
Result<void> apply_exec_affinity(const ProcessSpec& process);
// User, groups, working directory, umask and capabilities; afterwards the process has nothing but what `process` says.
Result<void> become_user(const ProcessSpec& process);
// From here on the process, and what it executes, makes only the system calls that the filter lets through. Needs
// CAP_SYS_ADMIN or no_new_privs.
Result<void> install_seccomp(const SeccompFilter& filter);

// Runs the hooks in order, as the process that we are now; the first that fails is the error.
Result<void> run_start_hooks(const StartHooks& start, const std::vector<std::string>& environment);

// The program for args[0], looked up as the process that we are now, in the PATH of its own environment. Errors read
// as those of runc, since callers match their text.
Result<std::string> find_program(const ProcessSpec& process);
// With HOME added from the container's /etc/passwd where the caller gave none, or an empty one, as runc does.
std::vector<std::string> complete_environment(const ProcessSpec& process);

}  // namespace nacre::guest
