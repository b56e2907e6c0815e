#include "runtime/lifecycle/create.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/subprocess.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/oci/config.h"
#include "runtime/standin/standin.h"
#include "runtime/translate/translate.h"
#include "runtime/update/kept_resources.h"

namespace nacre::runtime {

namespace {

constexpr int kEndTimeoutMs = 20'000;

Record make_record(const oci::Config& config, const std::string& id, std::string cgroup) {
  return Record{.oci_version = config.oci_version,
                .id = id,
                .bundle = config.bundle,
                .rootfs = config.rootfs,
                .created = now_rfc3339(),
                .owner = user_name(),
                .annotations = config.annotations,
                .standin = {},
                .vmm = {},
                .cgroup = std::move(cgroup)};
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
  auto linux = config.json.find("linux");
  if (linux == config.json.end() || !linux->contains("resources")) return {};
  return update::keep_resources(dir, (*linux)["resources"]);
}

// What follows the stand-in's good news: other commands can find the container.
Result<void> publish(const CreateRequest& request, const ContainerDir& dir, const Record& record) {
  TRY(dir.write_record(record));
  if (!request.pid_file.empty()) TRY(write_pid_file(request.pid_file, record.standin.pid));
  return {};
}

}  // namespace

Result<CreatedContainer> create_container(const CreateRequest& request) {
  oci::Config config = TRY(oci::load_config(request.bundle));
  Parts parts = TRY(find_parts());
  StandinPlan plan{.id = request.id,
                   .vmm_program = parts.vmm,
                   .vm = TRY(to_vm(config, parts, request.debug)),
                   .guest_config = to_guest(config),
                   .cgroup = "",
                   .terminal = std::nullopt,
                   .held = request.held};
  ContainerDir dir = TRY(ContainerDir::create(request.root, request.id));
  for (const auto& warning : config.warnings) log_warn(warning);

  std::string cgroup;
  Fd terminal;
  pid_t pid = -1;
  auto made = [&]() -> Result<std::pair<Record, Fd>> {
    TRY(make_mountpoints(config));
    plan.terminal = TRY(open_terminal(plan.guest_config["process"], request.console_socket, request.foreground));
    cgroup = make_cgroup(config.cgroups_path);
    plan.cgroup = cgroup;
    if (plan.terminal && request.foreground) terminal = TRY(plan.terminal->fd.dup());
    Forked forked = TRY(fork_standin(std::move(plan), dir));
    pid = forked.pid;
    Record record = make_record(config, request.id, cgroup);
    Report report = TRY(receive_report(forked.report.get()));
    if (!report.ok) return fail(report.error, report.code);
    record.standin = report.processes.standin;
    record.vmm = report.processes.vmm;
    TRY(keep_resources(config, dir));
    TRY(publish(request, dir, record));
    return std::pair(std::move(record), std::move(forked.report));
  }();
  if (!made) {
    Error error = made.error();
    auto destroyed = destroy(dir, dir.read_processes(), cgroup);
    if (!destroyed) log_warn("clean-up: " + destroyed.error().message());
    if (pid > 0) (void)wait_for(pid);
    return std::unexpected(std::move(error));
  }
  return CreatedContainer{.dir = std::move(dir),
                          .record = std::move(made->first),
                          .report = std::move(made->second),
                          .terminal = std::move(terminal)};
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
  // The kernel kills vmm with its stand-in. This is for the one whose stand-in could not be told.
  TRY_CONTEXT(kill_and_wait(processes.vmm, kEndTimeoutMs), "the container's VM");
  remove_cgroup(cgroup);
  return dir.remove();
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
