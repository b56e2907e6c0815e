// What runs in a new process between its clone and its execve: it turns itself into the process that a specification
// describes. One step per file; each failure names its step.
//
// A child is a copy of guest-init with one thread, so it may allocate and use the library. It must never return into
// guest-init's event loop.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/rootfs.h"
#include "guest-init/spec.h"

namespace nacre::guest {

struct ChildPlan {
  int control = -1;                         // SOCK_SEQPACKET to guest-init, see child_channel.h
  std::array<int, 3> stdio = {-1, -1, -1};  // the child's ends, -1: /dev/null
  int init_pidfd = -1;                      // for exec: the process whose namespaces are joined
};

// Builds the container and becomes its first process. Already in its new namespaces, but for the cgroup namespace,
// and in its cgroup.
[[noreturn]] void run_first_process(const ContainerSpec& spec, const ChildPlan& plan);
// Joins a container; already in its pid namespace and cgroup.
[[noreturn]] void run_exec_process(const ProcessSpec& spec, const ChildPlan& plan);

// A pseudo-terminal of the container's devpts.
struct Terminal {
  Fd master, slave;
};

// The steps.

// Mounts everything below the root, which is mounted itself, and takes it as "/". Leaves the working directory "/".
// Gives the terminal of the first process, if it is to have one.
Result<std::optional<Terminal>> build_root(const ContainerSpec& spec);
Result<void> make_devices(const Rootfs& root, const std::vector<DeviceSpec>& devices);

Result<Terminal> open_terminal(const Rootfs& root, const TerminalSpec& spec, uid_t owner);
// Shows the terminal as /dev/console.
Result<void> bind_console(const Rootfs& root, const Terminal& terminal);
// Makes it the controlling terminal of this session, and its standard streams.
Result<void> take_terminal(const Terminal& terminal);

Result<void> apply_rlimits(const std::vector<Rlimit>& rlimits);
// User, groups, working directory, umask and capabilities; afterwards the process has nothing but what `process` says.
Result<void> become_user(const ProcessSpec& process);

// The program for args[0], looked up as the process that we are now, in the PATH of its own environment. Errors read
// as those of runc, since callers match their text.
Result<std::string> find_program(const ProcessSpec& process);
// With HOME added from the container's /etc/passwd where the caller gave none, as runc does.
std::vector<std::string> complete_environment(const ProcessSpec& process);
// strerror() in the case that those callers know.
std::string lower_strerror(int code);

}  // namespace nacre::guest
