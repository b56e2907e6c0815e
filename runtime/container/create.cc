// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/create.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/config/config.h"
#include "runtime/container/guards.h"
#include "runtime/container/hooks.h"
#include "runtime/container/kept_resources.h"
#include "runtime/container/pidfd_socket.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/container/standin/standin.h"
#include "runtime/plan/mountpoints.h"
#include "runtime/plan/plan.h"
#include "runtime/vm/shared.h"

namespace nacre::runtime {

namespace {

// Decides everything before anything is made.
Result<StandinTask> plan_container(const CreateRequest& request, PassedFds passed) {
  const oci::Config config = TRY(oci::load_config(request.bundle, request.config));
  const HostFacts facts = TRY(collect_facts(config, request.root));
  ContainerPlan plan = TRY(make_plan(config, facts,
                                     {.id = request.id,
                                      .directory = request.root + "/" + request.id,
                                      .debug = request.debug,
                                      .listen_fds = passed.listen}));
  Record record{.oci_version = config.oci_version,
                .id = request.id,
                .bundle = config.bundle,
                .config = config.file,
                .rootfs = config.rootfs,
                .created = now_rfc3339(),
                .owner = user_name(),
                .annotations = config.annotations,
                .standin = {},
                .vmm = {},
                .cgroup = "",
                .hooks = config.hooks.dump(),
                .mappings = plan.host.mappings.is_null() ? "" : plan.host.mappings.dump()};
  return StandinTask{.id = request.id,
                     .plan = std::move(plan),
                     .cgroup = "",
                     .resctrl = std::nullopt,
                     .terminal = std::nullopt,
                     .record = std::move(record),
                     .passed_fds = std::move(passed.fds),
                     .held = request.held};
}

// A container that is being made. If finish() is not reached, the destructor undoes the steps, the last one first.
class Creation {
 public:
  // `request` outlives this object.
  Creation(const CreateRequest& request, StandinTask task, NewDirectory dir)
      : request_(request), task_(std::move(task)), plan_(task_.plan), dir_(std::move(dir)) {}

  // Runs the steps of ARCHITECTURE.md, "Life of a container".
  Result<CreatedContainer> create() {
    TRY(make_mountpoints(plan_.host));
    TRY(open_terminals());
    TRY(cgroup_.make(plan_, request_.id, request_.systemd_cgroup));
    TRY(resctrl_.make(plan_.host.intel_rdt, request_.id));
    TRY(fork_standin());
    TRY(wait_for_container());
    TRY(cgroup_.set_late_limits());
    TRY(settle());
    TRY(publish());
    return finish();
  }

 private:
  Result<void> open_terminals();
  Result<void> fork_standin();
  Result<void> take_terminal();
  Result<void> run_runtime_hooks();
  Result<void> wait_for_container();
  Result<void> settle();
  Result<void> publish();
  CreatedContainer finish();

  const CreateRequest& request_;
  StandinTask task_;  // the stand-in uses its own copy, made by fork
  const ContainerPlan& plan_;

  // The guards, in the order in which their things are made.
  PoststopHooks poststop_;
  NewDirectory dir_;
  HostCgroup cgroup_{dir_};
  ResctrlGroup resctrl_{dir_};
  StandinProcess standin_{dir_};
  Fd own_terminal_;             // the caller's terminal, if the container uses it
  std::optional<RawMode> raw_;  // of own_terminal_
};

Result<void> Creation::open_terminals() {
  const auto& process = plan_.guest.config.at("process");
  task_.terminal = TRY(open_terminal(process, request_.console_socket, request_.foreground));
  if (task_.terminal && request_.foreground) own_terminal_ = TRY(task_.terminal->fd.dup());
  return {};
}

// Hands the caller's terminal to the container before anybody reads from it. Everything typed from then on goes to the
// container, ^D included. While hooks run, ^C still ends this command.
Result<void> Creation::take_terminal() {
  if (own_terminal_) raw_.emplace(TRY(RawMode::enter(own_terminal_.get())));
  return {};
}

Result<void> Creation::fork_standin() {
  task_.cgroup = task_.record.cgroup = cgroup_.name();
  task_.resctrl = resctrl_.get();
  bool waits = waits_for_hooks(task_);
  if (!waits) TRY(take_terminal());
  TRY(standin_.fork(task_));
  poststop_.arm(task_.record);
  task_.terminal.reset();
  close_passed_fds(task_.passed_fds);  // so that their other ends close when the container closes them
  if (!waits) return {};
  TRY(run_runtime_hooks());
  TRY(take_terminal());
  return standin_.go_on();
}

// Runs the runtime's hooks while the stand-in waits. The stand-in has a pid, and has made nothing yet.
Result<void> Creation::run_runtime_hooks() {
  Report report = TRY(standin_.receive());
  std::string state = hook_state(task_.record, "creating", report.processes.standin.pid);
  TRY(run_hooks(plan_.host.hooks, "prestart", state));
  return run_hooks(plan_.host.hooks, "createRuntime", state);
}

Result<void> Creation::wait_for_container() {
  Report report = TRY(standin_.receive());
  task_.record.standin = report.processes.standin;
  task_.record.vmm = report.processes.vmm;
  return {};
}

// Keeps the resources for `update`, and adds to the size of a VM that other containers use too.
Result<void> Creation::settle() {
  const auto& resources = plan_.host.resources;
  if (!resources.empty()) TRY(keep_resources(dir_.get(), resources));
  if (plan_.vm.vm_of.empty()) return {};
  auto other = view_container(request_.root, plan_.vm.vm_of);
  // A failure only makes the accounting less exact.
  auto separated = other ? separate_vm(dir_.get(), other->record) : Result<void>();
  if (!separated) log_warn("the VM stays in the cgroup of one container: " + separated.error().message());
  return add_to_shared_vm(dir_.get(), request_.id, resources);
}

// Writes state.json: from here on other commands can find the container.
Result<void> Creation::publish() {
  TRY(dir_.get().write_record(task_.record));
  if (!request_.pid_file.empty()) TRY(write_pid_file(request_.pid_file, task_.record.standin.pid));
  return send_pidfd(request_.pidfd_socket, task_.record.standin.pid, kFirstProcess);
}

CreatedContainer Creation::finish() {
  poststop_.release();
  cgroup_.release();
  resctrl_.release();
  return {
      .dir = dir_.release(), .record = std::move(task_.record), .report = standin_.release(), .raw = std::move(raw_)};
}

}  // namespace

Result<CreatedContainer> create_container(const CreateRequest& request) {
  StandinTask task = TRY(plan_container(request, TRY(take_passed_fds(request.preserve_fds))));
  NewDirectory dir = TRY(NewDirectory::make(request.root, request.id));
  for (const auto& warning : task.plan.warnings) log_warn(warning);
  return Creation(request, std::move(task), std::move(dir)).create();
}

Result<void> start_held(CreatedContainer& container) {
  // Marked before the process runs, so that the container's state is never "created" while it runs.
  TRY(container.dir.mark_started());
  // Given up here: a startContainer hook may take any time, and the container can be deleted meanwhile.
  container.dir.release_lock();
  TRY(write_all(container.report.get(), "s"));
  Report report = TRY(receive_report(container.report.get()));
  if (!report.ok) return fail(report.error, report.code);
  return {};
}

Result<void> write_pid_file(const std::string& path, pid_t pid) {
  // Written under a hidden name first: programs that watch the directory see only the final name.
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string scratch = directory + "." + name;
  Result<void> written = [&]() -> Result<void> {
    // Removes what lies there: it may be a link that another user of the directory has made.
    if (::unlink(scratch.c_str()) < 0 && errno != ENOENT) return fail_errno("remove " + scratch);
    Fd file = TRY(open_file(scratch, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666));
    TRY_CONTEXT(write_all(file.get(), std::to_string(pid)), scratch);
    if (::rename(scratch.c_str(), path.c_str()) < 0) return fail_errno("rename " + path);
    return {};
  }();
  if (!written) ::unlink(scratch.c_str());
  return written;
}

}  // namespace nacre::runtime
