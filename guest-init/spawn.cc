#include "guest-init/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "guest-init/child.h"

namespace nacre::guest {

namespace {

// Not in glibc 2.36's header with the others.
constexpr uint64_t kCloneIntoCgroup = CLONE_INTO_CGROUP;

struct Ends {
  std::array<Fd, 3> child;
  Fd control;
};

// A terminal's come with the child's word that it is ready: add_terminal().
Result<Ends> make_ends(Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                       const SpawnContext& context) {
  Ends ends;
  for (size_t i = 0; i < 3; i++) {
    if (!stdio.open[i] || spec.terminal) continue;
    Pipe pipe = TRY(make_pipe());
    ends.child[i] = std::move(i == 0 ? pipe.read : pipe.write);
    process.streams[i] = TRY(Stream::create(context.loop, context.transport,
                                            i == 0 ? Stream::Direction::to_process : Stream::Direction::from_process,
                                            std::move(i == 0 ? pipe.write : pipe.read), context.on_stream_change));
  }
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  process.control = std::move(ours);
  ends.control = std::move(theirs);
  return ends;
}

ChildPlan plan_of(const Ends& ends) {
  ChildPlan plan;
  plan.control = ends.control.get();
  for (size_t i = 0; i < 3; i++) plan.stdio[i] = ends.child[i].get();
  return plan;
}

// 0 in the child.
Result<pid_t> clone_process(uint64_t flags, int cgroup, Fd& pidfd) {
  int fd = -1;
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | kCloneIntoCgroup;
  args.pidfd = reinterpret_cast<uint64_t>(&fd);
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<uint64_t>(cgroup);
  long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return fail_errno("clone");
  if (pid > 0) pidfd.reset(fd);
  return static_cast<pid_t>(pid);
}

// New processes of ours are in the pid namespace of `target` while this exists. One clone is enough then, and the
// process stays our own child.
class PidNamespaceGuard {
 public:
  static Result<PidNamespaceGuard> enter(int target) {
    PidNamespaceGuard guard(TRY(open_file("/proc/self/ns/pid", O_RDONLY)));
    if (::setns(target, CLONE_NEWPID) < 0) return fail_errno("join the container's pid namespace");
    guard.entered_ = true;
    return guard;
  }
  PidNamespaceGuard(PidNamespaceGuard&& other) noexcept
      : own_(std::move(other.own_)), entered_(std::exchange(other.entered_, false)) {}
  ~PidNamespaceGuard() {
    if (entered_) ::setns(own_.get(), CLONE_NEWPID);
  }

 private:
  explicit PidNamespaceGuard(Fd own) : own_(std::move(own)) {}
  Fd own_;
  bool entered_ = false;
};

}  // namespace

Result<void> spawn_first(Container& container, const StdioWanted& stdio, SpawnContext context) {
  Process& process = container.first;
  Ends ends = TRY(make_ends(process, container.spec.process, stdio, context));
  // The cgroup namespace comes later, from inside the cgroup.
  uint64_t flags = container.spec.namespaces & ~static_cast<uint64_t>(CLONE_NEWCGROUP);
  process.pid = TRY(clone_process(flags, container.cgroup->fd(), process.pidfd));
  if (process.pid == 0) run_first_process(container.spec, plan_of(ends));
  return {};
}

Result<void> spawn_exec(Container& container, Process& process, const ProcessSpec& spec, const StdioWanted& stdio,
                        SpawnContext context) {
  Ends ends = TRY(make_ends(process, spec, stdio, context));
  auto guard = TRY(PidNamespaceGuard::enter(container.first.pidfd.get()));
  auto pid = clone_process(0, container.cgroup->fd(), process.pidfd);
  if (!pid && pid.error().code() == EBUSY) {
    // The container has divided its cgroup: where its first process is, there is room.
    Fd cgroup = TRY(Cgroup::of_process(context.cgroup_mount, container.first.pid));
    pid = clone_process(0, cgroup.get(), process.pidfd);
  }
  if (!pid) {
    // A pid namespace whose first process has died takes no more.
    if (pid.error().code() == ENOMEM) return fail("cannot exec in a stopped container", ESRCH);
    return std::unexpected(pid.error());
  }
  process.pid = *pid;
  if (process.pid == 0) {
    ChildPlan plan = plan_of(ends);
    plan.init_pidfd = container.first.pidfd.get();
    run_exec_process(spec, plan);
  }
  return {};
}

Result<void> add_terminal(Process& process, Fd master, const SpawnContext& context) {
  for (auto [index, direction] :
       {std::pair(size_t{0}, Stream::Direction::to_process), std::pair(size_t{1}, Stream::Direction::from_process)}) {
    process.streams[index] =
        TRY(Stream::create(context.loop, context.transport, direction, TRY(master.dup()), context.on_stream_change));
  }
  process.terminal = std::move(master);
  return {};
}

}  // namespace nacre::guest
