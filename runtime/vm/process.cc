// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/confinement.h"
#include "base/log.h"
#include "base/run_program.h"
#include "guest-init/protocol/protocol.h"
#include "runtime/guest/connection.h"
#include "runtime/vm/files.h"
#include "vmm/api/mount_copy.h"

namespace nacre::runtime {

namespace {

// The numbers of descriptors in vmm.
constexpr int kControlFd = 3;
constexpr int kListenFd = 4;
constexpr int kLifelineFd = 5;
constexpr int kMachineControlFd = 6;
constexpr int kFirstTreeFd = 7;  // one for each mount of the share, and after these one for each network device

constexpr size_t kMaxRead = 1 << 20;  // of a log
constexpr int kCheckMs = 10'000;      // `vmm check` may take this long
constexpr int kEndMs = 2'000;         // explain_end() and has_ended() wait for vmm's end this long

// Reads a log through the directory's descriptor. Its path may be hidden: the container's mounts may be those of this
// process by then.
Result<std::string> read_log(const ContainerDir& dir, const char* name) {
  Fd log = TRY(open_at(dir.fd(), name, O_RDONLY));
  return read_fd(log.get(), kMaxRead);
}

std::string describe(const ProcessExit& exit) {
  if (exit.signal == SIGSYS) {
    return "vmm made a system call that its filter forbids (the kernel's log names the thread and the call)";
  }
  if (exit.signal != 0) return "vmm was killed by signal " + std::to_string(exit.signal);
  switch (static_cast<vmm::ExitStatus>(exit.status)) {
    case vmm::ExitStatus::power_off:
      return "the guest powered itself off";
    case vmm::ExitStatus::reset:
      return "the guest reset itself: its kernel panicked or its init ended";
    case vmm::ExitStatus::triple_fault:
      return "the guest ended in a triple fault";
    case vmm::ExitStatus::kvm_failure:
      return "KVM could not run the guest";
    case vmm::ExitStatus::killed:
      return "vmm was asked to end";
    case vmm::ExitStatus::error:
    case vmm::ExitStatus::usage:
      break;
  }
  return "vmm ended with status " + std::to_string(exit.status);
}

// Returns what `vmm check` says against the host's KVM, or "". A jailed vmm cannot look itself.
std::string complaint_about_kvm(const std::string& program) {
  constexpr std::string_view kPrefix = "vmm: ";
  auto outcome = run_program(
      {.path = program, .args = {"vmm", "check"}, .environment = std::nullopt, .input = "", .timeout_ms = kCheckMs});
  if (!outcome || outcome->timed_out || outcome->exit.status != static_cast<int>(vmm::ExitStatus::error)) return "";
  std::string line = last_line(outcome->err);
  return line.starts_with(kPrefix) ? line.substr(kPrefix.size()) : "";
}

// The sockets that vmm listens at.
struct Listeners {
  Fd vsock, control;
};

Result<Listeners> listen_for_vmm(const ContainerDir& dir, const std::string& selinux_label) {
  // They get the label of vmm. The stand-in has the same, so it may connect to them, and no other container's process.
  Fd proc;
  if (!selinux_label.empty()) {
    proc = TRY(open_file("/proc", O_PATH | O_DIRECTORY));
    TRY(label_new_sockets(proc, selinux_label));
  }
  Listeners listeners;
  listeners.vsock = TRY(listen_in(dir.fd(), kSocketName));
  listeners.control = TRY(listen_in(dir.fd(), kControlSocketName, SOCK_SEQPACKET));
  if (proc) TRY(label_new_sockets(proc, ""));
  return listeners;
}

}  // namespace

Result<Vm> Vm::start(const std::string& program, vmm::Config config, const Sources& sources, std::span<const Fd> taps,
                     const ContainerDir& dir) {
  auto [control, guest_end] = TRY(make_socketpair(SOCK_STREAM));
  Listeners listeners = TRY(listen_for_vmm(dir, config.jail.selinux_label));
  Pipe lifeline = TRY(make_pipe());
  Fd null = TRY(open_file("/dev/null", O_RDWR));
  auto log = std::make_unique<VmmLog>(TRY(VmmLog::create(dir, kVmmLogName)));
  Fd log_end = log->take_writer();
  std::unique_ptr<VmmLog> console;
  if (config.console) console = std::make_unique<VmmLog>(TRY(VmmLog::create(dir, kConsoleLogName)));
  Fd console_end = console ? console->take_writer() : Fd();

  config.vsock->listen_fd = kListenFd;
  config.vsock->streams = {{.port = protocol::kHostPort, .fd = kControlFd}};
  config.lifeline_fd = kLifelineFd;
  config.control = vmm::Control{.path = "", .listen_fd = kMachineControlFd};
  std::vector<Fd> trees;
  for (vmm::FsMount& mount : config.fs.at(0).mounts) {
    mount.tree_fd = kFirstTreeFd + static_cast<int>(trees.size());
    trees.push_back(TRY(vmm::copy_mount(mount, sources.at(mount.target))));
  }
  const int first_tap_fd = kFirstTreeFd + static_cast<int>(trees.size());
  for (size_t i = 0; i < taps.size(); i++) config.net.at(i).tap_fd = first_tap_fd + static_cast<int>(i);
  TRY(vmm::check(config));
  std::string config_path = dir.file(kVmmConfigName);
  {
    Fd file = TRY(open_at(dir.fd(), kVmmConfigName, O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY_CONTEXT(write_all(file.get(), vmm::to_toml(config)), config_path);
  }
  SpawnOptions options{.path = program,
                       .args = {"vmm", "--config", config_path},
                       .environment = std::nullopt,
                       .fds = {{null.get(), 0},
                               {console ? console_end.get() : null.get(), 1},
                               {log_end.get(), 2},
                               {guest_end.get(), kControlFd},
                               {listeners.vsock.get(), kListenFd},
                               {lifeline.read.get(), kLifelineFd},
                               {listeners.control.get(), kMachineControlFd}},
                       .death_signal = SIGKILL,
                       // vmm must not get signals of the caller's terminal.
                       .new_session = true,
                       .new_pid_namespace = true};
  for (const Fd& tree : trees) options.fds.emplace_back(tree.get(), kFirstTreeFd + static_cast<int>(&tree - &trees[0]));
  for (const Fd& tap : taps) options.fds.emplace_back(tap.get(), first_tap_fd + static_cast<int>(&tap - taps.data()));
  Child child = TRY(spawn(options));
  Vm vm(dir);
  vm.program_ = program;
  vm.pidfd_ = std::move(child.pidfd);
  vm.is_child_ = true;
  vm.log_ = std::move(log);
  vm.console_ = std::move(console);
  vm.control_ = std::move(control);
  vm.lifeline_ = std::move(lifeline.write);
  vm.process_ = TRY(identify(child.pid));
  return vm;
}

Result<Vm> Vm::join(const ContainerDir& other, const vmm::Fs& share, const Sources& sources, const ContainerDir& dir) {
  ProcessId process = TRY(other.read_record()).vmm;
  Fd pidfd = TRY(open_process(process));
  TRY(link_vm_files(other, dir));
  Vm vm(dir);  // from here on the VM is shared, so failures must not kill it
  vm.process_ = process;
  vm.pidfd_ = std::move(pidfd);
  vm.hold_ = TRY(MachineControl::connect(dir.fd()));
  TRY(vm.hold_->ask(vmm::Hold{}));
  for (const vmm::FsMount& mount : share.mounts) {
    Fd tree = TRY(vmm::copy_mount(mount, sources.at(mount.target)));
    TRY_CONTEXT(vm.hold_->ask(vmm::Share{.tag = share.tag, .name = mount.target}, tree.get()), mount.source);
  }
  vm.control_ = TRY(connect_control(dir.fd()));
  return vm;
}

Vm::~Vm() {
  kill();
}

Result<ProcessExit> Vm::wait_for_exit() {
  ended_ = true;
  if (is_child_) return wait_for(Child{.pid = process_.pid, .pidfd = TRY(pidfd_.dup())});
  // The exit status of another process's child cannot be read: wait for its end only.
  pollfd end{pidfd_.get(), POLLIN, 0};
  while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
  }
  return fail("the VM, which containers shared, has ended", ECHILD);
}

void Vm::kill() {
  if (!pidfd_ || ended_) return;
  if (vm_is_shared(*dir_)) {
    ended_ = true;
    lifeline_.reset();
    hold_.reset();
    return;
  }
  (void)signal_pidfd(pidfd_.get(), SIGKILL);
  (void)wait_for_exit();
  move_logs();
}

void Vm::move_logs() {
  for (VmmLog* log : logs()) {
    if (log != nullptr) log->move();
  }
}

bool Vm::has_ended() const {
  pollfd end{pidfd_.get(), POLLIN, 0};
  return ::poll(&end, 1, kEndMs) != 0;
}

std::string Vm::explain_end() {
  if (!has_ended()) {
    if (vm_is_shared(*dir_)) return "the VM, which containers share, does not answer this one";
    (void)signal_pidfd(pidfd_.get(), SIGKILL);
  }
  auto exit = wait_for_exit();
  move_logs();
  if (auto console = read_log(*dir_, kConsoleLogName)) log_debug("console of the guest:\n" + *console);
  if (exit && exit->status == static_cast<int>(vmm::ExitStatus::kvm_failure) && !program_.empty()) {
    if (std::string complaint = complaint_about_kvm(program_); !complaint.empty()) return complaint;
  }
  std::string said;
  if (log_) {
    said = log_->last_line();
  } else if (auto text = read_log(*dir_, kVmmLogName)) {
    said = last_line(*text);
  }
  std::string how = exit ? describe(*exit) : exit.error().message();
  bool own_error = exit && exit->signal == 0 &&
                   (exit->status == static_cast<int>(vmm::ExitStatus::error) ||
                    exit->status == static_cast<int>(vmm::ExitStatus::usage));
  if (said.empty()) return how;
  return own_error ? said : how + ": " + said;
}

}  // namespace nacre::runtime
