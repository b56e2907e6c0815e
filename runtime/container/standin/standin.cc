// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/standin.h"

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
#include <ranges>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/bad_alloc.h"
#include "base/confinement.h"
#include "base/log.h"
#include "base/mount.h"
#include "base/user_namespace.h"
#include "runtime/container/hooks.h"
#include "runtime/container/remove.h"
#include "runtime/container/standin/followed_mounts.h"
#include "runtime/container/standin/host_namespaces.h"
#include "runtime/container/standin/inherited_fds.h"
#include "runtime/container/standin/lock.h"
#include "runtime/container/standin/notify.h"
#include "runtime/container/standin/session.h"
#include "runtime/container/standin/title.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/oom.h"
#include "runtime/network/container_network.h"
#include "runtime/plan/file_ids.h"
#include "runtime/plan/host_mounts.h"
#include "runtime/plan/memory_policy.h"
#include "runtime/vm/process.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// Milliseconds from vmm's start to the guest's answer, less those in which the host has no CPU for vmm. A VM inside an
// emulated VM needs tens of seconds.
constexpr int kBootTimeoutMs = 120'000;
constexpr size_t kMaxReport = 65536;
// A host program that looks into the container's /proc waits in the kernel for at most this long; a signal that kills
// it ends its wait at once. It may be one that looks at all processes of the host, so a guest that does not answer must
// not hold it up for long. A VM inside an emulated VM needs a second when it is busy.
constexpr int kProcTimeoutMs = 5'000;
constexpr size_t kMaxWarnings = 20;  // of a guest, at its start

// Returns the VM's own explanation for a connection that broke because the VM has ended.
Error explain(const Error& error, Vm& vm) {
  const bool ended = error.code() == ECONNRESET || (may_be_vm_end(error.code()) && vm.has_ended());
  return ended ? Error(vm.explain_end(), ECONNRESET) : error;
}

std::string describe(const Confinement& confinement) {
  const std::string &profile = confinement.apparmor_profile, &label = confinement.selinux_label;
  if (profile.empty() && label.empty()) return "nothing";
  return profile + (profile.empty() || label.empty() ? "" : " and ") + label;
}

// A running vmm cannot be confined anew: whoever started the VM has decided.
void warn_of_confinement(const ContainerPlan& plan, pid_t vmm) {
  const Confinement& wanted = plan.host.confinement;
  const Confinement found = confinement_of(vmm, wanted);
  if (found == wanted) return;
  log_warn("the VM of container " + plan.vm.vm_of + " is confined by " + describe(found) + ", not by " +
           describe(wanted));
}

// vmm cannot get more ids than it began with.
Result<void> check_ids(const ContainerDir& vm, const vmm::Jail& wanted) {
  vmm::Config config = TRY(vmm::parse_toml(TRY(read_file(vm.file(kVmmConfigName)))));
  if (covers(config.jail.uids, wanted.uids) && covers(config.jail.gids, wanted.gids)) return {};
  return fail("serves the ids of its own user namespace alone, and this container's files have others", EPERM);
}

// Joins the container's links to taps, if the VM is to have them. Returns nothing if there are none.
Result<std::optional<ContainerNetwork>> join_network(const StandinTask& task, const HostNamespaces& host) {
  if (!task.plan.host.serves_network || !host.has_network()) return std::nullopt;
  ContainerNetwork network = TRY_CONTEXT(ContainerNetwork::join(task.id), "network");
  if (!network.owner().empty()) {
    log_warn("the VM of container " + network.owner() + " has this network, and shares it with containers in it alone");
    return std::nullopt;
  }
  if (network.description().links.empty()) return std::nullopt;
  return network;
}

Result<Vm> make_vm(StandinTask& task, const Sources& sources, std::span<const Fd> taps, const ContainerDir& dir) {
  if (task.plan.vm.vm_of.empty()) {
    return Vm::start(task.plan.vm.program, std::move(task.plan.vm.config), sources, taps, dir);
  }
  std::string root = dir.path().substr(0, dir.path().rfind('/'));
  ContainerDir other = TRY(ContainerDir::open(root, task.plan.vm.vm_of));
  const std::string name = "the VM of container " + task.plan.vm.vm_of;
  TRY_CONTEXT(check_ids(other, task.plan.vm.config.jail), name);
  Vm vm = TRY_CONTEXT(Vm::join(other, task.plan.vm.config.fs.at(0), sources, dir), name);
  warn_of_confinement(task.plan, vm.process().pid);
  return vm;
}

// Waits until the runtime's hooks have run and runs those of createContainer, all before the VM starts: vmm must
// serve a root filesystem that the hooks have finished.
Result<void> let_hooks_run(const StandinTask& task, const ContainerDir& dir, int report, const Processes& processes) {
  TRY(dir.write_processes(processes));
  bool sent = send_report(report, {.ok = true, .processes = processes, .error = "", .code = 0}).has_value();
  char word;
  if (!sent || ::recv(report, &word, 1, 0) <= 0) return fail("given up by the caller", ECANCELED);
  // As under runc, these hooks start in the root filesystem.
  Fd before = TRY(open_file(".", O_PATH | O_DIRECTORY));
  if (::chdir(task.plan.host.rootfs.c_str()) < 0) return fail_errno("chdir " + task.plan.host.rootfs);
  auto run = run_hooks(task.plan.host.hooks, "createContainer", hook_state(task.record, "creating", ::getpid()));
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

// Completes the request that makes the container, of which `task` is the plan.
protocol::Create create_request(StandinTask& task, const Stdio& stdio, std::vector<protocol::HostMount> host_mounts,
                                const std::optional<ContainerNetwork>& network) {
  GuestPlan& guest = task.plan.guest;
  protocol::Create create{.container = task.id,
                          .config = std::move(guest.config),
                          .stdio = wanted_stdio(stdio),
                          .seccomp = seccomp_of(guest.seccomp),
                          .bundle = has_hooks(task.plan.host.hooks, "startContainer") ? task.record.bundle : "",
                          .host_mounts = std::move(host_mounts),
                          .notify = guest.notify,
                          .joins = texts_of(guest.joins),
                          .network = network ? std::optional(network->description()) : std::nullopt,
                          .shared_mounts = texts_of(guest.shared_mounts)};
  if (task.terminal) task.terminal->describe(create.stdio, create.config["process"]);
  return create;
}

struct Container {
  HostNamespaces host;
  std::optional<ContainerNetwork> network;  // nothing: the VM has none
  Vm vm;
  std::unique_ptr<FollowedMounts> followed;  // null: no mount follows the host
  Sources sources;
  Fd directory;  // the container's, on a detached mount; invalid: this process keeps the host's mounts
  Session session;
};

// Boots the VM and builds the container in it, up to the point where start releases it.
Result<Container> make_container(StandinTask& task, const ContainerDir& dir, int report, Processes& processes) {
  Stdio stdio = TRY(probe_stdio(task.terminal, std::move(task.passed_fds)));
  NotifyForwarder notify = task.plan.guest.notify ? NotifyForwarder::from_environment() : NotifyForwarder();
  if (!task.cgroup.empty()) TRY_CONTEXT(enter_cgroup(task.cgroup), "unable to apply cgroup configuration");
  if (task.resctrl) TRY_CONTEXT(resctrl::enter(*task.resctrl), "unable to apply Intel RDT configuration");
  HostNamespaces host = TRY(HostNamespaces::enter(task.plan.host));
  TRY(host.mount_filesystems(task.plan.host.filesystems));
  processes.cgroup = task.cgroup;
  processes.standin = TRY(identify(::getpid()));
  if (waits_for_hooks(task)) TRY(let_hooks_run(task, dir, report, processes));
  if (task.plan.host.memory_policy) TRY(take_memory_policy(*task.plan.host.memory_policy));
  auto followed = std::make_unique<FollowedMounts>(task.id, dir, task.plan.host.mounts);
  // In a user namespace mounts cannot be taken one by one (mount_namespaces(7), "locked").
  if (followed->empty() || !host.shows_root(task.plan.host) || !is_host_root()) followed.reset();
  if (followed) followed->leave_out(task.plan.vm.config.fs.at(0));
  const vmm::Fs& share = task.plan.vm.config.fs.at(0);
  Sources sources = TRY(Sources::open(share));  // after the hooks, which may have made mounts
  std::vector<protocol::HostMount> host_mounts = TRY(to_host_mounts(share, sources));
  auto network = TRY(join_network(task, host));
  std::vector<Fd> taps;
  if (network) {
    taps = network->take_taps();
    for (const auto& link : network->description().links) task.plan.vm.config.net.push_back({.mac = link.mac});
  }
  Vm vm = TRY(make_vm(task, sources, taps, dir));
  taps.clear();  // they vanish with the VM
  // The VM boots while this process goes on.
  processes.vmm = vm.process();
  TRY(dir.write_processes(processes));
  if (followed) {
    auto brought = followed->bring(host_mounts);
    if (!brought && brought.error().code() == ESRCH) return fail(vm.explain_end(), ECONNRESET);
    TRY(std::move(brought));
  }
  Session session(vm.take_control(), task.id, "", vm.pidfd());
  Fd directory;
  if (host.shows_root(task.plan.host)) directory = TRY(dir.detach());
  for (VmmLog* log : vm.logs()) {
    if (log != nullptr) session.watch(log->fd(), [log] { return log->move(); });
  }
  // If the container has joined a VM, vmm is neither a child of this process nor in its cgroup.
  pid_t own_vmm = task.plan.vm.vm_of.empty() ? vm.process().pid : 0;
  session.on_oom([sign = std::make_shared<OomSign>(task.cgroup, own_vmm)] { sign->show(); });
  session.on_ready([notify = std::make_shared<NotifyForwarder>(std::move(notify))] { notify->tell_ready(); });
  const protocol::Create create = create_request(task, stdio, std::move(host_mounts), network);
  auto created = session.request(create, {kBootTimeoutMs, vm.process().pid}, report);
  if (!created) return std::unexpected(explain(created.error(), vm));
  for (const std::string& warning : created->warnings | std::views::take(kMaxWarnings)) log_warn(warning);
  auto attached = session.attach_stdio(dir.fd(), created->streams, std::move(stdio));
  if (!attached) return std::unexpected(explain(attached.error(), vm));
  if (task.terminal) session.watch_terminal(std::move(task.terminal->fd));
  return Container{std::move(host),    std::move(network),   std::move(vm),     std::move(followed),
                   std::move(sources), std::move(directory), std::move(session)};
}

// Waits for the word to start, and starts the process. Used by `run`.
Result<void> start_when_told(Container& container, const StandinTask& task, int report) {
  char word;
  ssize_t n = ::recv(report, &word, 1, 0);
  if (n <= 0) return fail("given up by the caller", ECANCELED);
  auto started =
      container.session.request(protocol::Start{.container = task.id}, start_timeout_ms(task.plan.host.hooks), report);
  if (!started) return std::unexpected(explain(started.error(), container.vm));
  return {};
}

// Serves the container's /proc once somebody looks into it, on a thread of its own: it has to wait for the guest.
void serve_proc(Container& container, const std::string& id, const ContainerDir& dir, procfs::Mounted mounted) {
  // In the thread that serves, the container's directory is the working directory: no path of the host leads there.
  auto source = [request = protocol::Procfs{.container = id}] { return ask(AT_FDCWD, request, kProcTimeoutMs); };
  auto files = std::make_shared<procfs::FileSystem>(std::move(mounted.device), source);
  files->serve_one();  // FUSE_INIT, the kernel's first request
  auto serve = [files, &dir] {
    if (::unshare(CLONE_FS) == 0 && ::fchdir(dir.fd()) == 0) {
      while (files->serve_one()) {
      }
    }
    files->close();
  };
  container.session.watch(files->fd(), [files, serve] {
    try {
      std::thread(serve).detach();
    } catch (const std::system_error& error) {
      log_warn("the container's processes are not shown on the host: " + describe_errno(error.code().value()));
      files->close();
    }
    return false;
  });
}

// Starts the thread that follows the host's mounts. Without it the container still works.
void follow_mounts(Container& container, FollowedMounts& mounts, const Fd& host_proc) {
  constexpr const char* kWarning = "later mounts of the host do not come into the container: ";
  // The thread has this process's SELinux label, whose policy may forbid what it does.
  if (auto may_mount = clone_tree(AT_FDCWD, "/", false); !may_mount) {
    return log_warn(kWarning + may_mount.error().message());
  }
  if (auto watched = mounts.watch(container.host, host_proc); !watched) {
    return log_warn(kWarning + watched.error().message());
  }
  try {
    std::promise<Result<void>> begun;
    auto lock = [&begun] {
      auto locked = lock_mount_follower();
      begun.set_value(locked);
      return locked;
    };
    std::thread([&mounts, lock] { mounts.follow(lock); }).detach();
    if (auto locked = begun.get_future().get(); !locked) log_warn(kWarning + locked.error().message());
  } catch (const std::system_error& error) {
    log_warn(kWarning + describe_errno(error.code().value()));
  }
}

// Enters the container's mounts and tells the caller that the container is there. The container's program must not run
// before: it could replace a bind mount's source, which may lie in another of its volumes, by a link.
Result<void> report_made(Container& container, const StandinTask& task, const ContainerDir& dir, int report,
                         const Processes& processes) {
  const Report made{.ok = true, .processes = processes, .error = "", .code = 0};
  const Confinement& confinement = task.plan.host.confinement;
  Fd host_proc;
  if (container.followed || confinement != Confinement()) host_proc = TRY(open_file("/proc", O_PATH | O_DIRECTORY));
  auto proc = TRY(container.host.show_root(task.plan.host, container.sources));
  container.sources = {};
  // Before the label, which may lack CAP_SYS_ADMIN: the kernel asks for it when FUSE_INIT is answered.
  if (proc) serve_proc(container, task.id, dir, std::move(*proc));
  // A label is the process's, and there is but one thread yet. A profile is a thread's: the one that follows the host's
  // mounts stays out of it, since profiles of containers forbid mounts.
  TRY(enter_selinux_label(host_proc, confinement.selinux_label));
  if (container.followed) follow_mounts(container, *container.followed, host_proc);
  TRY(enter_apparmor_profile(host_proc, confinement.apparmor_profile));
  if (!send_report(report, made)) return fail("given up by the caller", ECANCELED);
  if (!task.held) return {};
  TRY(start_when_told(container, task, report));
  (void)send_report(report, made);  // a failure is ignored: the process runs already
  return {};
}

// Gives up what a stand-in does not need any more. A stand-in without its lock does not go on.
void lock_in(Container& container, ContainerDir& dir) {
  container.vm.ask_no_program();
  if (container.network) container.network->keep();
  auto locked = [&]() -> Result<void> {
    if (container.directory) TRY(dir.go_on_in(container.directory));
    container.directory.reset();
    return lock_standin();
  }();
  if (locked) return;
  log_error("the stand-in cannot be locked in: " + locked.error().message());
  container.vm.kill();
  ::_exit(EXIT_FAILURE);
}

// Removes a container whose caller is gone: it cannot clean up any more, and its lock went with it.
void remove_abandoned(const StandinTask& task, ContainerDir& dir) {
  if (auto ended = end_vm(dir, dir.read_processes().vmm); !ended) log_warn("clean-up: " + ended.error().message());
  if (!task.cgroup.empty()) leave_and_remove_cgroup(task.cgroup);
  if (task.resctrl) resctrl::remove(*task.resctrl);
  if (auto locked = dir.relock(); locked && *locked) (void)dir.remove();
  run_late_hooks(task.plan.host.hooks, "poststop", hook_state(task.record, "stopped", 0));
}

[[noreturn]] void give_up(const Error& error, const StandinTask& task, ContainerDir& dir, int report) {
  if (error.code() == ECANCELED ||
      !send_report(report, {.ok = false, .processes = {}, .error = error.message(), .code = error.code()})) {
    remove_abandoned(task, dir);
  }
  ::_exit(EXIT_FAILURE);
}

}  // namespace

bool waits_for_hooks(const StandinTask& task) {
  return has_hooks(task.plan.host.hooks, "prestart") || has_hooks(task.plan.host.hooks, "createRuntime") ||
         has_hooks(task.plan.host.hooks, "createContainer");
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

void run_standin(StandinTask task, ContainerDir& dir, Fd report) noexcept {
  // A session of its own, like that of runc's first process, so that a terminal's ^C goes to the command alone, which
  // forwards it.
  ::setsid();
  close_inherited_fds();
  dir.forget_lock();
  // A controlling terminal signals changes of its window (SIGWINCH).
  if (task.terminal && task.terminal->is_pseudo) ::ioctl(task.terminal->fd.get(), TIOCSCTTY, 0);
  auto signals = take_signals();
  if (!signals) give_up(signals.error(), task, dir, report.get());

  const Json args = task.plan.guest.config["process"]["args"];
  Processes processes;
  auto container = catch_bad_alloc([&] { return make_container(task, dir, report.get(), processes); });
  if (!container) give_up(container.error(), task, dir, report.get());
  detach_from_caller();
  show_command_line(args);
  auto reported = report_made(*container, task, dir, report.get(), processes);
  if (!reported) {
    container->vm.kill();
    container->network.reset();
    // Host paths mean something else while the container's files are the root.
    if (auto left = container->host.leave_mounts(); !left) {
      log_warn("nothing is cleaned up: " + left.error().message());
      ::_exit(EXIT_FAILURE);
    }
    give_up(reported.error(), task, dir, report.get());
  }
  report.reset();
  // The guest has the configuration: free its memory.
  task = {};
  ::malloc_trim(0);
  lock_in(*container, dir);

  ProcessExit exit = container->session.run(signals->get());
  if (!container->session.was_told_of_exit()) {
    std::string why = "the container's VM has ended: " + container->vm.explain_end();
    log_warn(why);
    if (auto noted = dir.write_vm_end(why); !noted) log_warn("vm.end: " + noted.error().message());
  }
  container->vm.kill();
  end_like(exit);
}

}  // namespace nacre::runtime
