// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "guest-init/child/channel.h"
#include "guest-init/child/child.h"
#include "guest-init/network/configure.h"

namespace nacre::guest {

namespace {

// Not in glibc 2.36's header with the others.
constexpr uint64_t kCloneIntoCgroup = CLONE_INTO_CGROUP;

struct Ends {
  std::vector<Fd> child;  // by the number that each has in the process
  Fd control;
};

// Makes the process's user the pipe's owner: otherwise the process could not open /dev/stdout. The group stays, as
// under runc.
Result<void> give_to_user(const Fd& pipe, const ProcessSpec& spec, const ContainerSpec& container) {
  uid_t uid = spec.uid;
  if (container.namespaces & CLONE_NEWUSER) uid = outside_id(container.user.uids, uid).value_or(uid);
  if (::fchown(pipe.get(), uid, static_cast<gid_t>(-1)) < 0) return fail_errno("chown of a pipe");
  return {};
}

struct NewDescriptor {
  Fd child;  // the process's end
  Descriptor streams;
};

Result<NewDescriptor> make_descriptor(protocol::Passed wanted, const SpawnContext& context) {
  NewDescriptor made;
  Fd input, output;  // guest-init's ends
  if (wanted.readable && wanted.writable) {
    auto [ours, theirs] = TRY(make_socketpair(SOCK_STREAM));
    input = TRY(ours.dup());
    output = std::move(ours);
    made.child = std::move(theirs);
  } else {
    Pipe pipe = TRY(make_pipe());
    made.child = std::move(wanted.readable ? pipe.read : pipe.write);
    (wanted.readable ? input : output) = std::move(wanted.readable ? pipe.write : pipe.read);
  }
  auto carry = [&](Stream::Direction direction, Fd end) {
    return Stream::create(context.loop, context.transport, direction, std::move(end), context.on_stream_change);
  };
  if (input) made.streams.input = TRY(carry(Stream::Direction::to_process, std::move(input)));
  if (output) made.streams.output = TRY(carry(Stream::Direction::from_process, std::move(output)));
  return made;
}

// The streams of a terminal are made when the child has opened the terminal: Process::add_terminal().
Result<Ends> make_ends(const Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                       const SpawnContext& context) {
  Ends ends;
  ends.child.resize(3);
  auto add = [&](protocol::Passed wanted, Fd& child) -> Result<Descriptor> {
    NewDescriptor made = TRY(make_descriptor(wanted, context));
    TRY(give_to_user(made.child, spec, container.spec));
    child = std::move(made.child);
    return std::move(made.streams);
  };
  constexpr protocol::Passed kInput{.readable = true}, kOutput{.writable = true};
  if (spec.terminal) {
    process.hangs_up = spec.terminal->hangs_up;
  } else {
    if (stdio.in) process.stdio.in = TRY(add(kInput, ends.child[0])).input;
    if (stdio.out) process.stdio.out = TRY(add(kOutput, ends.child[1])).output;
    if (stdio.err) process.stdio.err = TRY(add(kOutput, ends.child[2])).output;
  }
  for (protocol::Passed wanted : stdio.passed) {
    process.passed.push_back(TRY(add(wanted, ends.child.emplace_back())));
  }
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  process.control = std::move(ours);
  ends.control = std::move(theirs);
  return ends;
}

ChildPlan plan_of(const Ends& ends) {
  ChildPlan plan;
  plan.control = ends.control.get();
  for (const Fd& fd : ends.child) plan.descriptors.push_back(fd.get());
  return plan;
}

// Clones a process into a cgroup (-1: the caller's own). Returns 0 in the child.
Result<pid_t> clone_process(uint64_t flags, int cgroup, Fd& pidfd) {
  int fd = -1;
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | (cgroup < 0 ? 0 : kCloneIntoCgroup);
  args.pidfd = reinterpret_cast<uint64_t>(&fd);
  args.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD;  // that of the helper
  args.cgroup = static_cast<uint64_t>(cgroup);
  long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return fail_errno("clone");
  if (pid > 0) pidfd.reset(fd);
  return static_cast<pid_t>(pid);
}

// Returns the process's pid in guest-init's own pid namespace.
Result<pid_t> pid_of(const Fd& pidfd) {
  std::string info = TRY(read_file("/proc/self/fdinfo/" + std::to_string(pidfd.get())));
  size_t at = info.find("\nPid:\t");
  if (at == std::string::npos) return fail("process died while it was made", ECHILD);
  return static_cast<pid_t>(std::strtol(info.c_str() + at + 6, nullptr, 10));
}

int pidfd_of(const std::vector<NamespaceJoin>& joins, uint64_t flag) {
  for (const NamespaceJoin& join : joins) {
    if (join.flags & flag) return join.pidfd;
  }
  return -1;
}

enum class CloneStep { join, clone };

struct CloneOutcome {
  CloneStep step;
  int code;
};

// Moves the calling process into the cgroup.
Result<void> enter_cgroup(int cgroup) {
  Fd processes = TRY(open_at(cgroup, "cgroup.procs", O_WRONLY));
  return write_all(processes.get(), "0");
}

// Clones a process into namespaces of an existing container. Somebody there could stop the process, or freeze it with
// its cgroup, while it is still a copy of guest-init with all its open descriptors. So a helper, in guest-init's own
// namespaces and cgroup, closes those first; then it joins, and the process is its sibling. Returns 0 in the child.
Result<pid_t> clone_by_helper(const ChildPlan& plan, const std::vector<NamespaceJoin>& joins, uint64_t flags,
                              int cgroup, Fd& pidfd) {
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  pid_t helper = ::fork();
  if (helper < 0) return fail_errno("fork");
  if (helper > 0) {
    ::waitpid(helper, nullptr, 0);
    CloneOutcome outcome{};
    auto received = receive_with_fds(ours.get(), std::as_writable_bytes(std::span(&outcome, 1)), MSG_DONTWAIT);
    if (!received || received->size != sizeof(outcome)) return fail("process died while it was made", ECHILD);
    if (received->fds.empty()) {
      return fail_errno(outcome.step == CloneStep::join ? "join another container's namespaces" : "clone",
                        outcome.code);
    }
    pidfd = std::move(received->fds.front());
    return pid_of(pidfd);
  }
  // Otherwise root of a user namespace that is joined could take hold of the helper.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  std::vector<int> needed = {theirs.get(), cgroup};
  for (const NamespaceJoin& join : joins) needed.push_back(join.pidfd);
  close_others(plan, needed);
  CloneOutcome outcome{.step = CloneStep::join, .code = 0};
  Fd made;
  // Root of another user namespace may have no right to put a process into the cgroup: then the helper enters it first.
  bool foreign = pidfd_of(joins, CLONE_NEWUSER) >= 0;
  auto entered = foreign ? enter_cgroup(cgroup) : Result<void>();
  if (entered) entered = enter_namespaces(joins);
  if (!entered) {
    outcome.code = entered.error().code();
  } else {
    auto pid = clone_process(flags | CLONE_PARENT, foreign ? -1 : cgroup, made);
    if (pid && *pid == 0) return 0;
    outcome = {.step = CloneStep::clone, .code = pid ? 0 : pid.error().code()};
  }
  int fd = made.get();
  (void)send_with_fds(theirs.get(), std::as_bytes(std::span(&outcome, 1)), std::span(&fd, made ? 1u : 0u));
  ::_exit(0);
}

// Makes the detached mounts that the container's process cannot make, by the index of the mount.
Result<std::vector<Fd>> make_trees(const Container& container) {
  const auto& mounts = container.spec.mounts;
  std::vector<Fd> trees(mounts.size());
  for (size_t i = 0; i < trees.size(); i++) {
    const MountSpec& mount = mounts[i];
    if (mount.ids)
      trees[i] = TRY_CONTEXT(make_mapped_tree(mount), "mount " + mount.source + " on " + mount.destination);
  }
  for (const auto& [i, shared] : container.shared_mounts) {
    trees[i] = TRY_CONTEXT(shared->copy(), "mount on " + mounts[i].destination);
  }
  return trees;
}

// Makes the device nodes, which stay with the container. Returns their mounts by the index of the device.
Result<std::vector<int>> make_nodes(Container& container) {
  std::vector<int> trees;
  for (const DeviceSpec& device : container.spec.devices) {
    container.nodes.push_back(TRY_CONTEXT(DeviceNode::make(device, container.spec.user), "device " + device.path));
    trees.push_back(container.nodes.back().tree());
  }
  return trees;
}

// Does for the first process in a user namespace what that cannot do itself.
Result<void> prepare_user_namespace(const Process& process, const ContainerSpec& spec) {
  if (!(spec.joined & CLONE_NEWUSER)) TRY_CONTEXT(write_mappings(process.pid, spec.user), "user namespace");
  TRY(apply_limits(process.pid, spec.process));
  if (!send_go(process.control.get())) return fail("process ended early", ESRCH);
  return {};
}

// Configures the network of the machine or, if `of` is the first process of a container with a network namespace of its
// own, of that.
Result<void> configure(Container& container, pid_t of) {
  if (!container.network) return {};
  Fd netns;
  if (of > 0) netns = TRY(open_file("/proc/" + std::to_string(of) + "/ns/net", O_RDONLY));
  container.first.warnings = TRY_CONTEXT(configure_network(*container.network, netns.get()), "network");
  container.network.reset();
  return {};
}

}  // namespace

Result<void> spawn_first(Container& container, const std::vector<NamespaceJoin>& joins, const StdioWanted& stdio,
                         SpawnContext context) {
  Process& process = container.first;
  const bool has_own_network = container.spec.own_namespaces() & CLONE_NEWNET;
  if (!has_own_network) TRY(configure(container, 0));
  Ends ends = TRY(make_ends(container, process, container.spec.process, stdio, context));
  std::vector<Fd> trees = TRY(make_trees(container));
  ChildPlan plan = plan_of(ends);
  for (const Fd& tree : trees) plan.trees.push_back(tree.get());
  plan.nodes = TRY(make_nodes(container));
  // The cgroup namespace is made later, from inside the cgroup, and the time namespace too, whose clocks are set first.
  uint64_t flags = container.spec.own_namespaces() & ~static_cast<uint64_t>(CLONE_NEWCGROUP | CLONE_NEWTIME);
  plan.init_pidfd = pidfd_of(joins, CLONE_NEWNS);
  int cgroup = container.cgroup->fd();
  process.pid = TRY(joins.empty() ? clone_process(flags, cgroup, process.pidfd)
                                  : clone_by_helper(plan, joins, flags, cgroup, process.pidfd));
  if (process.pid == 0) run_first_process(container.spec, plan);
  auto prepared = has_own_network ? configure(container, process.pid) : Result<void>();
  if (prepared && container.spec.namespaces & CLONE_NEWUSER) prepared = prepare_user_namespace(process, container.spec);
  if (!prepared) {
    process.setup_error = prepared.error();
    ::kill(process.pid, SIGKILL);  // its end gives the reply
  }
  return {};
}

Result<void> spawn_exec(Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                        const std::optional<std::string>& sub_cgroup, SpawnContext context) {
  constexpr const char* kJoining = "error adding pid of the process to cgroups";  // as runc
  Fd chosen;
  if (sub_cgroup && !sub_cgroup->empty()) chosen = TRY_CONTEXT(container.cgroup->open_below(*sub_cgroup), kJoining);
  Ends ends = TRY(make_ends(container, process, spec, stdio, context));
  ChildPlan plan = plan_of(ends);
  plan.init_pidfd = container.first.pidfd.get();
  plan.namespaces = container.spec.namespaces;
  const std::vector<NamespaceJoin> joins = {{.flags = CLONE_NEWPID, .pidfd = plan.init_pidfd}};
  auto pid = clone_by_helper(plan, joins, 0, chosen ? chosen.get() : container.cgroup->fd(), process.pidfd);
  if (!pid && pid.error().code() == EBUSY && sub_cgroup) return std::unexpected(pid.error().with_context(kJoining));
  if (!pid && pid.error().code() == EBUSY) {
    // The container has divided its cgroup: the cgroup of its first process has room.
    Fd cgroup = TRY(Cgroup::of_process(context.cgroup_mount, container.first.pid));
    pid = clone_by_helper(plan, joins, 0, cgroup.get(), process.pidfd);
  }
  if (!pid) {
    // A pid namespace whose first process has died takes no more.
    if (pid.error().code() == ENOMEM) return fail("cannot exec in a stopped container", ESRCH);
    return std::unexpected(pid.error());
  }
  process.pid = *pid;
  if (process.pid == 0) run_exec_process(spec, plan);
  return {};
}

}  // namespace nacre::guest
