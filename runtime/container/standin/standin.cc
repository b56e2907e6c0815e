#include "runtime/container/standin/standin.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/user_namespace.h"
#include "runtime/container/hooks.h"
#include "runtime/container/standin/followed_mounts.h"
#include "runtime/container/standin/notify.h"
#include "runtime/container/standin/session.h"
#include "runtime/container/standin/title.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/oom.h"
#include "runtime/plan/translate.h"
#include "runtime/vm/files.h"
#include "runtime/vm/process.h"
#include "runtime/vm/shared.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// From vmm's start to the guest's answer. A VM inside an emulated VM needs tens of seconds.
constexpr int kBootTimeoutMs = 120'000;
constexpr size_t kMaxReport = 65536;
// A program of the host waits in the kernel meanwhile.
constexpr int kProcTimeoutMs = 10'000;

std::vector<int>& inherited_fds() {
  static std::vector<int> fds;
  return fds;
}

// An error of a conversation with a VM that has ended is explained by the VM.
Error explain(const Error& error, Vm& vm) {
  if (error.code() != ECONNRESET) return error;
  return Error(vm.explain_end(), ECONNRESET);
}

Result<Vm> make_vm(StandinPlan& plan, const ContainerDir& dir) {
  if (plan.vm_of.empty()) return Vm::start(plan.vmm_program, std::move(plan.vm), dir);
  std::string root = dir.path().substr(0, dir.path().rfind('/'));
  ContainerDir other = TRY(ContainerDir::open(root, plan.vm_of));
  return TRY_CONTEXT(Vm::join(other, plan.vm.fs.at(0), dir), "the VM of container " + plan.vm_of);
}

// Before the VM starts, so that it serves a root filesystem that hooks have finished.
Result<void> let_hooks_run(const StandinPlan& plan, const ContainerDir& dir, int report, const Processes& processes) {
  TRY(dir.write_processes(processes));
  bool sent = send_report(report, {.ok = true, .processes = processes, .error = "", .code = 0}).has_value();
  char word;
  if (!sent || ::recv(report, &word, 1, 0) <= 0) return fail("given up by the caller", ECANCELED);
  // As under runc they begin in the root filesystem.
  Fd before = TRY(open_file(".", O_PATH | O_DIRECTORY));
  if (::chdir(plan.host.rootfs.c_str()) < 0) return fail_errno("chdir " + plan.host.rootfs);
  auto run = run_hooks(plan.hooks, "createContainer", hook_state(plan.record, "creating", ::getpid()));
  if (::fchdir(before.get()) < 0) return fail_errno("chdir");
  return run;
}

protocol::Texts texts_of(const Json& object) {
  protocol::Texts texts;
  for (const auto& [name, text] : object.items()) texts[name] = text.get<std::string>();
  return texts;
}

std::optional<protocol::SeccompProgram> seccomp_of(const Json& filter) {
  if (filter.is_null()) return std::nullopt;
  return protocol::SeccompProgram{.program = filter["program"].get<std::vector<uint64_t>>(),
                                  .flags = filter["flags"].get<uint32_t>()};
}

struct Container {
  HostNamespaces host;
  Vm vm;
  std::unique_ptr<FollowedMounts> followed;  // null: there is nothing to follow
  Session session;
};

// Boots the VM and builds the container in it, up to the point where start releases it.
Result<Container> make_container(StandinPlan& plan, const ContainerDir& dir, int report, Processes& processes) {
  NotifyForwarder notify = plan.notify ? NotifyForwarder::from_environment() : NotifyForwarder();
  if (!plan.cgroup.empty()) TRY_CONTEXT(enter_cgroup(plan.cgroup), "unable to apply cgroup configuration");
  if (plan.resctrl) TRY_CONTEXT(resctrl::enter(*plan.resctrl), "unable to apply Intel RDT configuration");
  HostNamespaces host = TRY(HostNamespaces::enter(plan.host));
  TRY(host.mount_filesystems(plan.filesystems));
  processes.cgroup = plan.cgroup;
  processes.standin = TRY(identify(::getpid()));
  if (waits_for_hooks(plan)) TRY(let_hooks_run(plan, dir, report, processes));
  if (plan.memory_policy) TRY(take_memory_policy(*plan.memory_policy));
  auto followed = std::make_unique<FollowedMounts>(plan.id, dir, std::move(plan.served));
  // In a user namespace mounts cannot be taken one by one (mount_namespaces(7), "locked").
  if (followed->empty() || !host.shows_root(plan.host) || !is_host_root()) followed.reset();
  if (followed) followed->leave_out(plan.vm.fs.at(0));
  std::vector<protocol::HostMount> host_mounts = TRY(to_host_mounts(plan.vm));  // hooks may have made some
  Vm vm = TRY(make_vm(plan, dir));
  // The VM boots meanwhile.
  processes.vmm = vm.process();
  TRY(dir.write_processes(processes));
  if (followed) {
    auto brought = followed->bring(host_mounts);
    if (!brought && brought.error().code() == ESRCH) return fail(vm.explain_end(), ECONNRESET);
    TRY(std::move(brought));
  }
  Session session(vm.take_control(), plan.id, "", vm.pidfd());
  // A VM that we have joined is no child of ours, and not in our cgroup.
  pid_t own_vmm = plan.vm_of.empty() ? vm.process().pid : 0;
  session.on_oom([sign = std::make_shared<OomSign>(plan.cgroup, own_vmm)] { sign->show(); });
  session.on_ready([notify = std::make_shared<NotifyForwarder>(std::move(notify))] { notify->tell_ready(); });
  Stdio stdio = probe_stdio(plan.terminal, std::move(plan.passed_fds));
  protocol::Create create{.container = plan.id,
                          .config = std::move(plan.guest_config),
                          .stdio = wanted_stdio(stdio),
                          .seccomp = seccomp_of(plan.seccomp),
                          .bundle = has_hooks(plan.hooks, "startContainer") ? plan.record.bundle : "",
                          .host_mounts = std::move(host_mounts),
                          .notify = plan.notify,
                          .joins = texts_of(plan.joins),
                          .shared_mounts = texts_of(plan.shared_mounts)};
  if (plan.terminal) plan.terminal->describe(create.stdio, create.config["process"]);
  auto created = session.request(create, kBootTimeoutMs, report);
  if (!created) return std::unexpected(explain(created.error(), vm));
  TRY(session.attach_stdio(dir.fd(), created->streams, stdio));
  close_passed_fds(stdio.passed);
  if (plan.terminal) session.watch_terminal(std::move(plan.terminal->fd));
  return Container{std::move(host), std::move(vm), std::move(followed), std::move(session)};
}

// For `run`: waits for the word to start and passes the outcome on.
Result<void> start_when_told(Container& container, const StandinPlan& plan, int report) {
  char word;
  ssize_t n = ::recv(report, &word, 1, 0);
  if (n <= 0) return fail("given up by the caller", ECANCELED);
  auto started = container.session.request(protocol::Start{.container = plan.id}, start_timeout_ms(plan.hooks), report);
  if (!started) return std::unexpected(explain(started.error(), container.vm));
  return {};
}

// Serves the container's /proc once somebody looks into it, on a thread of its own: it has to wait for the guest.
void serve_proc(Container& container, const std::string& id, const ContainerDir& dir, procfs::Mounted mounted) {
  auto source = [&dir, request = protocol::Procfs{.container = id}] { return ask(dir.fd(), request, kProcTimeoutMs); };
  auto files = std::make_shared<procfs::FileSystem>(std::move(mounted.device), source);
  files->serve_one();  // the kernel's greeting
  auto serve = [files, &host = container.host] {
    // The guest is reached by a path of the host.
    if (::unshare(CLONE_FS) == 0 && host.leave_mounts()) {
      while (files->serve_one()) {
      }
    }
    files->close();
  };
  container.session.on_readable(files->fd(), [files, serve] {
    try {
      std::thread(serve).detach();
    } catch (const std::system_error& error) {
      log_warn("the container's processes are not shown on the host: " + describe_errno(error.code().value()));
      files->close();
    }
  });
}

// A container that goes without is still a container.
void follow_mounts(Container& container, FollowedMounts& mounts, const Fd& host_proc) {
  constexpr const char* kWarning = "later mounts of the host do not come into the container: ";
  if (auto watched = mounts.watch(container.host, host_proc); !watched) {
    return log_warn(kWarning + watched.error().message());
  }
  try {
    std::promise<void> begun;
    std::thread([&mounts, &begun] { mounts.follow([&begun] { begun.set_value(); }); }).detach();
    begun.get_future().wait();
  } catch (const std::system_error& error) {
    log_warn(kWarning + describe_errno(error.code().value()));
  }
}

// Takes the container's mounts, and tells the caller that it is there. Its program does not run before: it could put a
// link in the place of a bind mount's source that lies in another volume of its.
Result<void> report_made(Container& container, const StandinPlan& plan, const ContainerDir& dir, int report,
                         const Processes& processes) {
  const Report made{.ok = true, .processes = processes, .error = "", .code = 0};
  Fd host_proc;
  if (container.followed) host_proc = TRY(open_file("/proc", O_PATH | O_DIRECTORY));
  auto proc = TRY(container.host.show_root(plan.host));
  if (proc) serve_proc(container, plan.id, dir, std::move(*proc));
  if (container.followed) follow_mounts(container, *container.followed, host_proc);
  if (!send_report(report, made)) return fail("given up by the caller", ECANCELED);
  if (!plan.held) return {};
  TRY(start_when_told(container, plan, report));
  (void)send_report(report, made);  // of a process that runs already the caller hears by its end
  return {};
}

// The caller is gone and cannot clean up any more. Its lock went with it.
void remove_abandoned(const StandinPlan& plan, ContainerDir& dir) {
  if (vm_is_shared(dir)) leave_shared_vm(dir, plan.id);
  if (!plan.cgroup.empty()) leave_and_remove_cgroup(plan.cgroup);
  if (plan.resctrl) resctrl::remove(*plan.resctrl);
  if (auto locked = dir.relock(); locked && *locked) (void)dir.remove();
  run_late_hooks(plan.hooks, "poststop", hook_state(plan.record, "stopped", 0));
}

[[noreturn]] void give_up(const Error& error, const StandinPlan& plan, ContainerDir& dir, int report) {
  if (error.code() == ECANCELED ||
      !send_report(report, {.ok = false, .processes = {}, .error = error.message(), .code = error.code()})) {
    remove_abandoned(plan, dir);
  }
  ::_exit(EXIT_FAILURE);
}

}  // namespace

bool waits_for_hooks(const StandinPlan& plan) {
  return has_hooks(plan.hooks, "prestart") || has_hooks(plan.hooks, "createRuntime") ||
         has_hooks(plan.hooks, "createContainer");
}

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

bool keep_inherited_fd(int fd) {
  return std::erase(inherited_fds(), fd) != 0;
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
  if (!signals) give_up(signals.error(), plan, dir, report.get());

  Processes processes;
  auto container = make_container(plan, dir, report.get(), processes);
  if (!container) give_up(container.error(), plan, dir, report.get());
  detach_from_caller();
  show_command_line(plan.args);
  auto reported = report_made(*container, plan, dir, report.get(), processes);
  if (!reported) {
    container->vm.kill();
    // Paths of the host mean something else where the container's files are the root.
    if (auto left = container->host.leave_mounts(); !left) {
      log_warn("nothing is cleaned up: " + left.error().message());
      ::_exit(EXIT_FAILURE);
    }
    give_up(reported.error(), plan, dir, report.get());
  }
  report.reset();
  // The configuration is with the guest: give back what it took.
  plan = {};
  ::malloc_trim(0);

  ProcessExit exit = container->session.run(signals->get());
  if (!container->session.was_told_of_exit()) {
    log_warn("the container's VM has ended: " + container->vm.explain_end());
  }
  container->vm.kill();
  end_like(exit);
}

}  // namespace nacre::runtime
