#include "runtime/standin/standin.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/log.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/standin/session.h"
#include "runtime/standin/vm.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// From vmm's start to the guest's answer. A VM inside an emulated VM needs tens of seconds.
constexpr int kBootTimeoutMs = 120'000;
constexpr size_t kMaxReport = 65536;

std::vector<int>& inherited_fds() {
  static std::vector<int> fds;
  return fds;
}

// An error of a conversation with a VM that has ended is explained by the VM.
Error explain(const Error& error, Vm& vm, const ContainerDir& dir) {
  if (error.code() != ECONNRESET) return error;
  return Error(vm.explain_end(dir), ECONNRESET);
}

struct Container {
  Vm vm;
  Session session;
};

// Boots the VM and builds the container in it, up to the point where start releases it.
Result<Container> make_container(StandinPlan& plan, const ContainerDir& dir, int report, Processes& processes) {
  if (!plan.cgroup.empty()) enter_cgroup(plan.cgroup);
  Vm vm = TRY(Vm::start(plan.vmm_program, std::move(plan.vm), dir));
  // The VM boots meanwhile.
  processes.standin = TRY(identify(::getpid()));
  processes.vmm = TRY(identify(vm.pid()));
  TRY(dir.write_processes(processes));
  Session session(vm.take_control(), plan.id, "", vm.pidfd());
  Json create{{"type", "create"}, {"container", plan.id}, {"config", std::move(plan.guest_config)}};
  Stdio stdio = probe_stdio();
  if (plan.terminal) {
    stdio = {.in = plan.terminal->fd.get(), .out = plan.terminal->fd.get(), .err = -1};
    plan.terminal->describe(create, create["config"]["process"]);
  }
  create = with_stdio(std::move(create), stdio);
  auto created = session.request(create, kBootTimeoutMs, report);
  if (!created) return std::unexpected(explain(created.error(), vm, dir));
  TRY(session.attach_stdio(dir.fd(), *created, stdio));
  if (plan.terminal) session.watch_terminal(std::move(plan.terminal->fd));
  return Container{std::move(vm), std::move(session)};
}

// For `run`: waits for the word to start and passes the outcome on.
Result<void> start_when_told(Container& container, const StandinPlan& plan, const ContainerDir& dir, int report) {
  char word;
  ssize_t n = ::recv(report, &word, 1, 0);
  if (n <= 0) return fail("given up by the caller", ECANCELED);
  auto started = container.session.request({{"type", "start"}, {"container", plan.id}}, kRequestTimeoutMs, report);
  if (!started) return std::unexpected(explain(started.error(), container.vm, dir));
  return {};
}

// The caller is gone and cannot clean up any more. Its lock went with it.
void remove_abandoned(const std::string& cgroup, ContainerDir& dir) {
  if (!cgroup.empty()) leave_and_remove_cgroup(cgroup);
  if (auto locked = dir.relock(); locked && *locked) (void)dir.remove();
}

[[noreturn]] void give_up(const Error& error, const std::string& cgroup, ContainerDir& dir, int report) {
  if (error.code() == ECANCELED ||
      !send_report(report, {.ok = false, .processes = {}, .error = error.message(), .code = error.code()})) {
    remove_abandoned(cgroup, dir);
  }
  ::_exit(EXIT_FAILURE);
}

}  // namespace

Result<void> send_report(int socket, const Report& report) {
  const Processes& p = report.processes;
  std::string text = report.ok ? "ok " + std::to_string(p.standin.pid) + " " + std::to_string(p.standin.start_time) +
                                     " " + std::to_string(p.vmm.pid) + " " + std::to_string(p.vmm.start_time)
                               : "error " + std::to_string(report.code) + " " + report.error;
  if (text.size() > kMaxReport) text.resize(kMaxReport);
  return send_with_fds(socket, std::as_bytes(std::span(text)), {});
}

Result<Report> receive_report(int socket) {
  std::string text(kMaxReport, '\0');
  ssize_t n;
  do {
    n = ::recv(socket, text.data(), text.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("report of the stand-in");
  if (n == 0) return fail("the container's stand-in process ended unexpectedly");
  text.resize(static_cast<size_t>(n));
  Report report;
  report.ok = text.starts_with("ok ");
  char* end = text.data() + text.find(' ');
  if (report.ok) {
    for (ProcessId* process : {&report.processes.standin, &report.processes.vmm}) {
      process->pid = static_cast<pid_t>(std::strtol(end, &end, 10));
      process->start_time = std::strtoull(end, &end, 10);
    }
  } else {
    report.code = static_cast<int>(std::strtol(end, &end, 10));
    report.error = *end == ' ' ? end + 1 : end;
  }
  return report;
}

void note_inherited_fds() {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  if (!directory) return;
  while (dirent* entry = ::readdir(directory.get())) {
    int fd = std::atoi(entry->d_name);  // "." and ".." become 0
    if (fd > STDERR_FILENO && fd != ::dirfd(directory.get())) inherited_fds().push_back(fd);
  }
}

void close_inherited_fds() {
  for (int fd : std::exchange(inherited_fds(), {})) ::close(fd);
}

void detach_from_caller() {
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // The caller's pipes must see an end of file when the container closes its side, not when we end.
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), fd);
  [[maybe_unused]] int failed = ::chdir("/");
}

void run_standin(StandinPlan plan, ContainerDir& dir, Fd report) {
  // As runc's first process: a session of its own, so that a terminal's ^C goes to the command alone, which forwards
  // it.
  ::setsid();
  close_inherited_fds();
  dir.forget_lock();
  // Ours, to be told of its window's changes.
  if (plan.terminal && plan.terminal->is_pseudo) ::ioctl(plan.terminal->fd.get(), TIOCSCTTY, 0);
  auto signals = take_signals();
  if (!signals) give_up(signals.error(), plan.cgroup, dir, report.get());

  Processes processes;
  auto container = make_container(plan, dir, report.get(), processes);
  if (!container) give_up(container.error(), plan.cgroup, dir, report.get());
  detach_from_caller();
  if (!send_report(report.get(), {.ok = true, .processes = processes, .error = "", .code = 0})) {
    container->vm.kill();
    give_up(Error("given up by the caller", ECANCELED), plan.cgroup, dir, report.get());
  }
  if (plan.held) {
    auto started = start_when_told(*container, plan, dir, report.get());
    if (!started) {
      container->vm.kill();
      give_up(started.error(), plan.cgroup, dir, report.get());
    }
    (void)send_report(report.get(), {.ok = true, .processes = processes, .error = "", .code = 0});
  }
  report.reset();
  // The configuration is with the guest: give back what it took.
  plan = {};
  ::malloc_trim(0);

  ProcessExit exit = container->session.run(signals->get());
  container->vm.kill();
  end_like(exit);
}

}  // namespace nacre::runtime
