#include "runtime/container/create.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <functional>

#include "base/log.h"
#include "base/subprocess.h"
#include "base/user_namespace.h"
#include "runtime/config/config.h"
#include "runtime/config/mappings.h"
#include "runtime/config/seccomp/compile.h"
#include "runtime/container/hooks.h"
#include "runtime/container/kept_resources.h"
#include "runtime/container/pidfd_socket.h"
#include "runtime/container/shared_namespaces.h"
#include "runtime/container/standin/standin.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/files.h"
#include "runtime/host/cgroup/unit_cgroup.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/plan/translate.h"
#include "runtime/vm/files.h"
#include "runtime/vm/shared.h"
#include "runtime/vm/sizing.h"

namespace nacre::runtime {

namespace {

constexpr int kEndTimeoutMs = 20'000;
constexpr const char* kSettingLimits = "error setting cgroup config for procHooks process";  // runc's words

Record make_record(const oci::Config& config, const std::string& id, std::string cgroup) {
  return Record{.oci_version = config.oci_version,
                .id = id,
                .bundle = config.bundle,
                .config = config.file,
                .rootfs = config.rootfs,
                .created = now_rfc3339(),
                .owner = user_name(),
                .annotations = config.annotations,
                .standin = {},
                .vmm = {},
                .cgroup = std::move(cgroup),
                .hooks = config.hooks.dump(),
                .mappings = kept_mappings(config)};
}

const nlohmann::json* intel_rdt_of(const oci::Config& config) {
  auto linux = config.json.find("linux");
  auto found = linux == config.json.end() ? nlohmann::json::const_iterator() : linux->find("intelRdt");
  return linux == config.json.end() || found == linux->end() ? nullptr : &*found;
}

Result<nlohmann::json> compile_seccomp(const oci::Config& config) {
  auto linux = config.json.find("linux");
  if (linux == config.json.end() || !linux->contains("seccomp")) return nullptr;
  auto filter = TRY(seccomp::compile((*linux)["seccomp"], "linux.seccomp"));
  return filter ? seccomp::to_message(*filter) : nlohmann::json();
}

struct Forked {
  pid_t pid;
  Fd report;
};

Result<Forked> fork_standin(StandinPlan plan, ContainerDir& dir) {
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) {
    ours.reset();
    run_standin(std::move(plan), dir, std::move(theirs));
  }
  return Forked{.pid = pid, .report = std::move(ours)};
}

// For `update`.
Result<void> keep_resources(const oci::Config& config, const ContainerDir& dir) {
  const auto& resources = resources_of(config);
  if (resources.empty()) return {};
  return update::keep_resources(dir, resources);
}

struct HostCgroup {
  std::string name;                         // as in runtime/host/cgroup/cgroup.h
  std::vector<oci::CgroupFile> later;  // limits that are set when the VM is up
  Holder holder;                            // until the stand-in is there
};

// The host's cgroup of a container, with the limits that act there.
Result<HostCgroup> prepare_cgroup(const oci::Config& config, const CreateRequest& request, const vmm::Config& vm) {
  const auto& resources = resources_of(config);
  HostCgroup made;
  if (request.systemd_cgroup) {
    auto unit = TRY(make_unit_cgroup(config.cgroups_path, request.id, resources, config.annotations));
    made.name = std::move(unit.name);
    made.holder = std::move(unit.holder);
  } else {
    made.name = TRY(make_cgroup(config.cgroups_path, request.id, resources));
  }
  const std::string& cgroup = made.name;
  auto set = [&]() -> Result<void> {
    auto files = TRY(host_files(resources, cgroup, vm.max_cpus));
    if (!cgroup.empty()) {
      made.later = files;
      std::erase_if(made.later, std::not_fn(waits_for_boot));
      std::erase_if(files, waits_for_boot);
    }
    auto most = host_backstop(resources, vm.memory);
    if (most && config.joins.empty()) {  // a VM that it joins is not in its cgroup
      for (auto& file : backstop_files(cgroup, resources, most)) files.push_back(std::move(file));
    }
    TRY(set_host_files(cgroup, files));
    return {};
  }();
  if (set) return made;
  made.holder = {};
  remove_cgroup(cgroup);
  return std::unexpected(set.error().with_context(kSettingLimits));
}

// Cache and bandwidth of the VM's threads; removed by destroy().
Result<std::optional<resctrl::Group>> prepare_resctrl(const oci::Config& config, const std::string& id,
                                                      const ContainerDir& dir) {
  const nlohmann::json* asked = intel_rdt_of(config);
  if (asked == nullptr) return std::nullopt;
  auto group =
      TRY_CONTEXT(resctrl::make(resctrl::mount_point(), *asked, id), "unable to apply Intel RDT configuration");
  auto kept = resctrl::keep(dir, group);
  if (kept) return group;
  resctrl::remove(group);
  return std::unexpected(kept.error());
}

// For the names of a container's trees in a share: not even one that has just gone had it.
std::string unique_prefix() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::to_string(now.tv_sec) + "." + std::to_string(now.tv_nsec) + ":";
}

// While the stand-in waits for go_on(): its pid is known, and nothing is made yet.
Result<void> run_runtime_hooks(const oci::Config& config, const Record& record, int report_socket) {
  Report report = TRY(receive_report(report_socket));
  if (!report.ok) return fail(report.error, report.code);
  std::string state = hook_state(record, "creating", report.processes.standin.pid);
  TRY(run_hooks(config.hooks, "prestart", state));
  return run_hooks(config.hooks, "createRuntime", state);
}

Result<void> go_on(int report_socket) {
  return write_all(report_socket, "h");
}

Result<void> settle_in_shared_vm(const oci::Config& config, const CreateRequest& request, const ContainerDir& dir) {
  auto other = view_container(request.root, config.joins.begin()->second);
  // Without it nothing is worse but the accounts.
  auto separated = other ? separate_vm(dir, other->record) : Result<void>();
  if (!separated) log_warn("the VM stays in the cgroup of one container: " + separated.error().message());
  return add_to_shared_vm(dir, request.id, resources_of(config));
}

// What follows the stand-in's good news: other commands can find the container.
Result<void> publish(const CreateRequest& request, const ContainerDir& dir, const Record& record) {
  TRY(dir.write_record(record));
  if (!request.pid_file.empty()) TRY(write_pid_file(request.pid_file, record.standin.pid));
  return send_pidfd(request.pidfd_socket, record.standin.pid, kFirstProcess);
}

}  // namespace

Result<CreatedContainer> create_container(const CreateRequest& request) {
  oci::Config config = TRY(oci::load_config(request.bundle, request.config));
  TRY_CONTEXT(resolve_namespaces(config, request.root), oci::kConfigName);
  if (is_unprivileged()) {
    TRY_CONTEXT(oci::check_own_ids(config.json["linux"], ::geteuid(), ::getegid()), oci::kConfigName);
  }
  auto shared_mounts = keep_shared_memory_in_guest(config);
  keep_kernel_filesystems_in_guest(config);
  auto filesystems = keep_filesystems_on_host(config, request.root + "/" + request.id);
  if (const auto* asked = intel_rdt_of(config)) {
    TRY_CONTEXT(resctrl::check(resctrl::mount_point(), *asked), oci::kConfigName);
  }
  Parts parts = TRY(find_parts());
  nlohmann::json seccomp = TRY_CONTEXT(compile_seccomp(config), oci::kConfigName);
  auto policy = TRY_CONTEXT(memory_policy(config.json["linux"]), oci::kConfigName);
  // All containers of one VM of course have one share.
  std::string prefix = config.joins.empty() ? "" : unique_prefix();
  vmm::Config vm = TRY(to_vm(config, parts, request.debug, prefix));
  bool notify = add_notify_socket(config, request.id);
  PassedFds passed = TRY(take_passed_fds(request.preserve_fds));
  tell_process(config.json["process"], passed);
  StandinPlan plan{.id = request.id,
                   .vmm_program = parts.vmm,
                   .vm = std::move(vm),
                   .vm_of = config.joins.empty() ? "" : config.joins.begin()->second,
                   .joins = config.joins,
                   .shared_mounts = std::move(shared_mounts),
                   .guest_config = to_guest(config, prefix),
                   .args = config.json["process"]["args"],
                   .seccomp = std::move(seccomp),
                   .cgroup = "",
                   .terminal = std::nullopt,
                   .hooks = config.hooks,
                   .record = {},
                   .host = plan_host_namespaces(config),
                   .served = served_mounts(config, prefix),
                   .filesystems = std::move(filesystems),
                   .memory_policy = std::move(policy),
                   .passed_fds = passed.fds,
                   .notify = notify,
                   .held = request.held};
  ContainerDir dir = TRY(ContainerDir::create(request.root, request.id));
  for (const auto& warning : config.warnings) log_warn(warning);

  std::string cgroup;
  std::optional<RawMode> raw;
  pid_t pid = -1;
  Record record;
  auto made = [&]() -> Result<std::pair<Record, Fd>> {
    TRY(make_mountpoints(config));
    plan.terminal = TRY(open_terminal(plan.guest_config["process"], request.console_socket, request.foreground));
    auto prepared = TRY(prepare_cgroup(config, request, plan.vm));
    plan.cgroup = cgroup = prepared.name;
    plan.resctrl = TRY(prepare_resctrl(config, request.id, dir));
    Fd own_terminal;
    if (plan.terminal && request.foreground) own_terminal = TRY(plan.terminal->fd.dup());
    // Before anybody reads from it: what is typed from then on is the container's, a ^D too. While hooks run a ^C still
    // ends us.
    auto hand_over = [&]() -> Result<void> {
      if (own_terminal) raw.emplace(TRY(RawMode::enter(own_terminal.get())));
      return {};
    };
    plan.record = record = make_record(config, request.id, cgroup);
    bool waits = waits_for_hooks(plan);
    if (!waits) TRY(hand_over());
    Forked forked = TRY(fork_standin(std::move(plan), dir));
    pid = forked.pid;
    close_passed_fds(passed.fds);  // who waits for the end of one waits for the container's alone
    if (waits) {
      TRY(run_runtime_hooks(config, record, forked.report.get()));
      TRY(hand_over());
      TRY(go_on(forked.report.get()));
    }
    Report report = TRY(receive_report(forked.report.get()));
    if (!report.ok) return fail(report.error, report.code);
    record.standin = report.processes.standin;
    record.vmm = report.processes.vmm;
    TRY_CONTEXT(set_host_files(cgroup, prepared.later), kSettingLimits);
    TRY(keep_resources(config, dir));
    if (!config.joins.empty()) TRY(settle_in_shared_vm(config, request, dir));
    TRY(publish(request, dir, record));
    return std::pair(record, std::move(forked.report));
  }();
  if (!made) {
    Error error = made.error();
    auto destroyed = destroy(dir, dir.read_processes(), cgroup);
    if (!destroyed) log_warn("clean-up: " + destroyed.error().message());
    if (pid > 0) {
      (void)wait_for(pid);
      run_late_hooks(config.hooks, "poststop", hook_state(record, "stopped", 0));
    }
    return std::unexpected(std::move(error));
  }
  return CreatedContainer{.dir = std::move(dir),
                          .record = std::move(made->first),
                          .report = std::move(made->second),
                          .raw = std::move(raw)};
}

Result<void> start_held(CreatedContainer& container) {
  // Before the process runs, so that it never runs in a container that says "created".
  TRY(container.dir.mark_started());
  TRY(write_all(container.report.get(), "s"));
  Report report = TRY(receive_report(container.report.get()));
  if (!report.ok) return fail(report.error, report.code);
  return {};
}

Result<void> destroy(ContainerDir& dir, const Processes& processes, const std::string& cgroup) {
  TRY_CONTEXT(kill_and_wait(processes.standin, kEndTimeoutMs), "the container's stand-in");
  if (vm_is_shared(dir)) {
    leave_shared_vm(dir, dir.path().substr(dir.path().rfind('/') + 1));
  } else {
    // The kernel kills vmm with its stand-in. This is for the one whose stand-in could not be told.
    TRY_CONTEXT(kill_and_wait(processes.vmm, kEndTimeoutMs), "the container's VM");
    remove_vm_cgroup(dir);
  }
  remove_cgroup(cgroup);
  if (auto group = resctrl::kept(dir)) resctrl::remove(*group);
  return dir.remove();
}

Result<void> remove_container(ContainerDir& dir, const Record& record) {
  TRY(destroy(dir, {.standin = record.standin, .vmm = record.vmm, .cgroup = record.cgroup}, record.cgroup));
  run_late_hooks(TRY(oci::parse_json(record.hooks, "hooks")), "poststop", hook_state(record, "stopped", 0));
  return {};
}

Result<void> run_poststart_hooks(const Record& record) {
  auto hooks = TRY(oci::parse_json(record.hooks, "hooks"));
  auto run = run_hooks(hooks, "poststart", hook_state(record, "running", record.standin.pid));
  if (!run) TRY_CONTEXT(kill_and_wait(record.standin, kEndTimeoutMs), "the container's stand-in");
  return run;
}

Result<void> write_pid_file(const std::string& path, pid_t pid) {
  // Beside the file, under a hidden name: whoever watches the directory sees the final name only.
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string scratch = directory + "." + name;
  Result<void> written = [&]() -> Result<void> {
    Fd file = TRY(open_file(scratch, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    TRY_CONTEXT(write_all(file.get(), std::to_string(pid)), scratch);
    if (::rename(scratch.c_str(), path.c_str()) < 0) return fail_errno("rename " + path);
    return {};
  }();
  if (!written) ::unlink(scratch.c_str());
  return written;
}

}  // namespace nacre::runtime
