// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/exec.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>

#include "base/bad_alloc.h"
#include "base/log.h"
#include "runtime/container/create.h"
#include "runtime/container/pidfd_socket.h"
#include "runtime/container/standin/inherited_fds.h"
#include "runtime/container/standin/lock.h"
#include "runtime/container/standin/session.h"
#include "runtime/container/standin/standin.h"
#include "runtime/container/standin/terminal.h"
#include "runtime/container/standin/title.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/plan/facts.h"

namespace nacre::runtime {

namespace {

constexpr int kUntilResumedMs = INT_MAX;

std::string make_exec_name() {
  return "exec-" + make_unique_name();
}

struct Running {
  ContainerDir dir;
  std::string cgroup;
  pid_t standin_pid;
  Fd standin;  // a pidfd, since /proc may be out of reach once this process is confined; invalid: it has ended
};

// Enters the container's cgroup. Once somebody has moved the container's processes to cgroups below, the container's
// own may take no process any more. Then, as runc does, this enters the cgroup of the container's first process.
void join_cgroup(const Running& container) {
  if (container.cgroup.empty() || enter_cgroup(container.cgroup)) return;
  if (auto joined = enter_cgroup_of(container.standin_pid); !joined) {
    log_debug("not in the container's cgroup: " + joined.error().message());
  }
}

// Finds the container. Reports "cannot exec in a stopped container" before anything else is tried.
Result<Running> open_running(const ExecRequest& request) {
  ContainerDir dir = TRY(ContainerDir::open(request.root, request.id));
  Record record = TRY(dir.read_record());
  Status status = dir.status(record);
  if (status == Status::stopped) return fail("cannot exec in a stopped container", ESRCH);
  if (status == Status::paused && !request.ignore_paused) {
    return fail("cannot exec in a paused container (use --ignore-paused to override)", EBUSY);
  }
  return Running{.dir = std::move(dir),
                 .cgroup = std::move(record.cgroup),
                 .standin_pid = record.standin.pid,
                 .standin = open_process(record.standin).value_or(Fd())};
}

// Asks the guest to make the process, and connects it to this program's stdio or to the terminal. The process waits for
// release().
Result<Session> prepare(const ExecRequest& request, const ContainerDir& dir, const std::string& name,
                        std::optional<Terminal> terminal) {
  Session session(TRY(connect_control(dir.fd())), request.id, name, -1);
  Stdio stdio = TRY(probe_stdio(terminal, request.passed_fds));
  protocol::Exec message{
      .container = request.id, .exec = name, .process = request.process, .stdio = wanted_stdio(stdio)};
  if (terminal) terminal->describe(message.stdio, message.process);
  message.ignore_paused = request.ignore_paused;
  message.cgroup = request.sub_cgroup;
  const int timeout_ms = request.ignore_paused ? kUntilResumedMs : kRequestTimeoutMs;
  auto created = TRY(session.request(message, timeout_ms));
  TRY(session.attach_stdio(dir.fd(), created.streams, std::move(stdio)));
  if (terminal) session.watch_terminal(std::move(terminal->fd));
  return session;
}

// Confines this process, which stands for the one in the guest, as the latter is to be.
Result<void> confine_standin(const ExecRequest& request) {
  if (request.confinement == Confinement()) return {};
  return confine(TRY(open_file("/proc", O_PATH | O_DIRECTORY)), request.confinement);
}

Result<void> release(Session& session, const ExecRequest& request, const std::string& name) {
  TRY(session.request(protocol::Release{.container = request.id, .exec = name}, kRequestTimeoutMs));
  return {};
}

// Runs the stand-in of a detached process, in the forked child.
[[noreturn]] void run_exec_standin(const ExecRequest& request, const Running& container,
                                   std::optional<Terminal> terminal, Fd report) noexcept {
  ::setsid();
  if (terminal) ::ioctl(terminal->fd.get(), TIOCSCTTY, 0);
  close_inherited_fds();
  join_cgroup(container);
  auto prepared = catch_bad_alloc([&]() -> Result<std::pair<Session, Fd>> {
    Fd signals = TRY(take_signals());
    std::string name = make_exec_name();
    Session session = TRY(prepare(request, container.dir, name, std::move(terminal)));
    detach_from_caller();
    show_command_line(request.process["args"]);
    TRY(confine_standin(request));
    TRY(release(session, request, name));
    return std::pair(std::move(session), std::move(signals));
  });
  auto running = explained(std::move(prepared), container.dir, container.standin);
  if (!running) {
    (void)send_report(
        report.get(),
        {.ok = false, .processes = {}, .error = running.error().message(), .code = running.error().code()});
    ::_exit(EXIT_FAILURE);
  }
  (void)send_report(report.get(), {.ok = true, .processes = {}, .error = "", .code = 0});
  report.reset();
  ::malloc_trim(0);
  if (auto locked = lock_exec(); !locked) {
    log_error("the stand-in cannot be locked in: " + locked.error().message());
    ::_exit(EXIT_FAILURE);
  }
  end_like(running->first.run(running->second.get()));
}

}  // namespace

Result<ProcessExit> exec_foreground(const ExecRequest& request) {
  Running container = TRY(open_running(request));
  join_cgroup(container);
  std::string name = make_exec_name();
  auto terminal = TRY(open_terminal(request.process, request.console_socket, true));
  std::optional<RawMode> raw;
  if (terminal) raw.emplace(TRY(RawMode::enter(terminal->fd.get())));
  Session session =
      TRY(explained(prepare(request, container.dir, name, std::move(terminal)), container.dir, container.standin));
  if (!request.pid_file.empty()) TRY(write_pid_file(request.pid_file, ::getpid()));
  TRY(send_pidfd(request.pidfd_socket, ::getpid(), kExecProcess));
  Fd signals = TRY(take_signals());
  TRY(confine_standin(request));
  TRY(explained(release(session, request, name), container.dir, container.standin));
  TRY_CONTEXT(lock_exec(), "exec cannot be locked in");
  ProcessExit exit = session.run(signals.get());
  if (!session.was_told_of_exit()) {
    if (std::string why = why_vm_ended(container.dir, container.standin); !why.empty()) log_warn(why);
  }
  return exit;
}

Result<void> exec_detached(const ExecRequest& request) {
  Running container = TRY(open_running(request));
  auto terminal = TRY(open_terminal(request.process, request.console_socket, false));
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) {
    ours.reset();
    run_exec_standin(request, container, std::move(terminal), std::move(theirs));
  }
  terminal.reset();
  theirs.reset();
  Result<void> done = [&]() -> Result<void> {
    Report report = TRY(receive_report(ours.get()));
    if (!report.ok) return fail(report.error, report.code);
    if (!request.pid_file.empty()) TRY(write_pid_file(request.pid_file, pid));
    return send_pidfd(request.pidfd_socket, pid, kExecProcess);
  }();
  if (!done) {
    ::kill(pid, SIGKILL);
    (void)wait_for(pid);
  }
  return done;
}

}  // namespace nacre::runtime
