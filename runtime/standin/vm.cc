#include "runtime/standin/vm.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/log.h"
#include "guest-init/protocol/protocol.h"
#include "runtime/agent/connection.h"

namespace nacre::runtime {

namespace {

// Descriptors as vmm knows them.
constexpr int kControlFd = 3;
constexpr int kListenFd = 4;
constexpr int kLifelineFd = 5;
constexpr int kMachineControlFd = 6;

constexpr size_t kMaxLog = 1 << 20;
constexpr size_t kMaxLine = 1000;
constexpr int kEndMs = 2'000;  // after that, "near" is over

Result<Fd> open_log(const ContainerDir& dir, const char* name) {
  return open_at(dir.fd(), name, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

// Not by its path: the container's mounts may be ours by then.
Result<std::string> read_log(const ContainerDir& dir, const char* name) {
  Fd log = TRY(open_at(dir.fd(), name, O_RDONLY));
  return read_fd(log.get(), kMaxLog);
}

std::string last_line(const std::string& text) {
  size_t end = text.find_last_not_of(" \n\r");
  if (end == std::string::npos) return "";
  size_t start = text.rfind('\n', end);
  start = start == std::string::npos ? 0 : start + 1;
  return text.substr(start, std::min(end + 1 - start, kMaxLine));
}

std::string describe(const ProcessExit& exit) {
  if (exit.signal != 0) return "vmm was killed by signal " + std::to_string(exit.signal);
  switch (static_cast<vmm::ExitStatus>(exit.status)) {
    case vmm::ExitStatus::power_off:
      return "the guest powered itself off";
    case vmm::ExitStatus::reset:
      return "the guest reset itself: its kernel panicked or its init ended (--debug shows the console)";
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

}  // namespace

Result<Vm> Vm::start(const std::string& program, vmm::Config config, const ContainerDir& dir) {
  auto [control, guest_end] = TRY(make_socketpair(SOCK_STREAM));
  Fd listener = TRY(listen_in(dir.fd(), kSocketName));
  Fd machine_control = TRY(listen_in(dir.fd(), kControlSocketName, SOCK_SEQPACKET));
  Pipe lifeline = TRY(make_pipe());
  Fd null = TRY(open_file("/dev/null", O_RDWR));
  Fd log = TRY(open_log(dir, kVmmLogName));
  Fd console;
  if (config.console) console = TRY(open_log(dir, kConsoleLogName));

  config.vsock->listen_fd = kListenFd;
  config.vsock->streams = {{.port = protocol::kHostPort, .fd = kControlFd}};
  config.lifeline_fd = kLifelineFd;
  config.control = vmm::Control{.path = "", .listen_fd = kMachineControlFd};
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
                               {console ? console.get() : null.get(), 1},
                               {log.get(), 2},
                               {guest_end.get(), kControlFd},
                               {listener.get(), kListenFd},
                               {lifeline.read.get(), kLifelineFd},
                               {machine_control.get(), kMachineControlFd}},
                       .death_signal = SIGKILL,
                       // A terminal that hangs up is the container's affair.
                       .new_session = true};
  Child child = TRY(spawn(options));
  return Vm(std::move(child), std::move(control), std::move(lifeline.write));
}

Vm::~Vm() {
  kill();
}

void Vm::kill() {
  if (!child_.pidfd || reaped_) return;
  (void)signal_pidfd(child_.pidfd.get(), SIGKILL);
  (void)wait_for(child_);
  reaped_ = true;
}

std::string Vm::explain_end(const ContainerDir& dir) {
  pollfd end{child_.pidfd.get(), POLLIN, 0};
  if (::poll(&end, 1, kEndMs) == 0) (void)signal_pidfd(child_.pidfd.get(), SIGKILL);
  auto exit = wait_for(child_);
  reaped_ = true;
  if (auto console = read_log(dir, kConsoleLogName)) log_debug("console of the guest:\n" + *console);
  std::string said;
  if (auto text = read_log(dir, kVmmLogName)) said = last_line(*text);
  std::string how = exit ? describe(*exit) : exit.error().message();
  bool own_error = exit && exit->signal == 0 &&
                   (exit->status == static_cast<int>(vmm::ExitStatus::error) ||
                    exit->status == static_cast<int>(vmm::ExitStatus::usage));
  if (said.empty()) return how;
  return own_error ? said : how + ": " + said;
}

}  // namespace nacre::runtime
