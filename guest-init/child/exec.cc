// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstring>

#include "guest-init/child/channel.h"
#include "guest-init/child/child.h"

namespace nacre::guest {

namespace {

constexpr int kSetupFailed = 1;

// Moves the open descriptors above the numbers that the process is to have.
Result<void> make_room(ChildPlan& plan) {
  int limit = static_cast<int>(plan.descriptors.size());
  auto move = [&](int& fd) -> Result<void> {
    if (fd < 0 || fd >= limit) return {};
    int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, limit);
    if (moved < 0) return fail_errno("dup");
    if (fd > STDERR_FILENO) ::close(fd);
    fd = moved;
    return {};
  };
  TRY(move(plan.control));
  TRY(move(plan.init_pidfd));
  for (int& fd : plan.trees) TRY(move(fd));
  for (int& fd : plan.nodes) TRY(move(fd));
  for (int& fd : plan.descriptors) TRY(move(fd));
  return {};
}

Result<void> set_descriptors(const ChildPlan& plan) {
  for (int number = 0; number < static_cast<int>(plan.descriptors.size()); number++) {
    int fd = plan.descriptors[static_cast<size_t>(number)];
    Fd null;
    if (fd < 0) {
      null = TRY(open_file("/dev/null", number == 0 ? O_RDONLY : O_WRONLY));
      fd = null.get();
    }
    // The descriptor of /dev/null may have this very number by chance.
    if (fd == number ? ::fcntl(null.release(), F_SETFD, 0) < 0 : ::dup2(fd, number) < 0) return fail_errno("dup2");
  }
  for (int fd : plan.descriptors) {
    if (fd >= 0) ::close(fd);
  }
  return {};
}

// Joins the container's own session keyring, as under runc. It is found by its name, so that exec'ed processes are in
// it.
Result<void> join_keyring(const ProcessSpec& process) {
  constexpr long kPermissions =
      0x3f1b0000;  // all for its possessor; its user may also search, since he could not join it otherwise
  if (process.session_keyring.empty()) return {};
  long id = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, process.session_keyring.c_str());
  if (id < 0 && errno == ENOSYS) return {};  // a kernel without keys
  if (id < 0 || ::syscall(SYS_keyctl, KEYCTL_SETPERM, id, kPermissions) < 0) return fail_errno("session keyring");
  return {};
}

// Does what every process needs first, with root's rights.
Result<void> begin(ChildPlan& plan, const ProcessSpec& process) {
  // Processes of the container could otherwise take hold of this one while it is still a copy of guest-init.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::setsid() < 0) return fail_errno("setsid");
  close_others(plan);
  TRY(make_room(plan));
  TRY(set_descriptors(plan));
  TRY(join_keyring(process));
  if (process.personality && ::personality(*process.personality) < 0) return fail_errno("set personality");
  return {};
}

Result<void> write_sysctls(int proc, const std::vector<std::pair<std::string, std::string>>& sysctls) {
  for (const auto& [name, value] : sysctls) {
    Fd file = TRY_CONTEXT(open_at(proc, "sys/" + name, O_WRONLY), "sysctl " + name);
    TRY_CONTEXT(write_all(file.get(), value), "sysctl " + name);
  }
  return {};
}

// Opens the terminal of a process whose container is built already.
Result<std::optional<Terminal>> open_own_terminal(const ProcessSpec& process) {
  if (!process.terminal) return std::nullopt;
  Rootfs root(TRY(open_file("/", O_PATH | O_DIRECTORY)));
  return TRY_CONTEXT(open_terminal(root, *process.terminal, process.uid), "terminal");
}

Result<std::optional<Terminal>> build_container(const ContainerSpec& spec, const ChildPlan& plan) {
  // Uses the machine's own /proc: the container may have none, or one that lies.
  Fd proc = TRY(open_file("/proc", O_PATH | O_DIRECTORY));
  // Only now, in the container's cgroup, does a new namespace have that as its root.
  if ((spec.own_namespaces() & CLONE_NEWCGROUP) && ::unshare(CLONE_NEWCGROUP) < 0) return fail_errno("unshare cgroup");
  std::optional<Terminal> terminal;
  if (spec.joined & CLONE_NEWNS) {
    // The root file system and all mounts are the other container's.
    TRY(join_mounts(plan));
    terminal = TRY(open_own_terminal(spec.process));
  } else {
    terminal = TRY(build_root(spec, plan));
  }
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) < 0) {
    return fail_errno("set hostname");
  }
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) < 0) {
    return fail_errno("set domainname");
  }
  TRY(write_sysctls(proc.get(), spec.sysctls));
  return terminal;
}

// Sets up an exec'ed process, which finds the container built.
Result<std::optional<Terminal>> join_container(const ProcessSpec& process, const ChildPlan& plan) {
  TRY(join_namespaces(plan));
  return open_own_terminal(process);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

[[noreturn]] void give_up(const ChildPlan& plan, const Error& error) {
  report_error(plan.control, error);
  ::_exit(kSetupFailed);
}

// Hands the terminal's master to guest-init.
Result<void> take_and_report(const std::optional<Terminal>& terminal, const ChildPlan& plan) {
  if (!terminal) return {};
  TRY(take_terminal(*terminal));
  return report_terminal(plan.control, terminal->master.get());
}

[[noreturn]] void execute(const ProcessSpec& process, const StartHooks& hooks, const ChildPlan& plan,
                          std::optional<Terminal> terminal) {
  // As little as possible happens under the filter: each system call from here on is one that it must let through.
  std::vector<std::string> args = process.args;
  std::vector<std::string> env = complete_environment(process);
  std::vector<char*> argv = pointers(args), envp = pointers(env);
  auto program = [&]() -> Result<std::string> {
    TRY(take_and_report(terminal, plan));
    terminal.reset();
    // As in runc: a process that may gain privileges needs them to take a filter, so it does that while it has them.
    if (process.seccomp && !process.no_new_privileges) TRY(install_seccomp(*process.seccomp));
    TRY(become_user(process));
    return find_program(process);
  }();
  if (!program) give_up(plan, program.error());
  report_ready(plan.control);
  if (!wait_for_go(plan.control)) ::_exit(kSetupFailed);
  if (process.seccomp && process.no_new_privileges) {
    if (auto installed = install_seccomp(*process.seccomp); !installed) give_up(plan, installed.error());
  }
  // The filter holds for the hooks too, as under runc.
  if (auto run = run_start_hooks(hooks, env); !run) give_up(plan, run.error());
  ::execve(program->c_str(), argv.data(), envp.data());
  // As under runc, the container has started by now: its output tells what failed.
  std::string line = "exec " + *program + ": " + describe_errno(errno) + "\n";
  (void)write_all(STDERR_FILENO, line);
  ::_exit(kSetupFailed);
}

Result<void> check_program(const ProcessSpec& process, const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) < 0) return fail("stat " + path + ": " + describe_errno(errno), errno);
  if (S_ISDIR(status.st_mode)) return fail("is a directory: " + describe_errno(EACCES), EACCES);
  // Not faccessat(2) with AT_EACCESS, which is a system call that older seccomp profiles do not know. Our ids are all
  // the same by now, but access(2) does not count the capabilities of one that is not root.
  if (::access(path.c_str(), X_OK) == 0) return {};
  bool overrides = process.capabilities.effective >> CAP_DAC_OVERRIDE & 1;
  if (errno == EACCES && overrides && (status.st_mode & 0111) != 0) return {};  // execve(2) will tell
  return fail(describe_errno(errno), errno);
}

std::string environment_value(const ProcessSpec& process, std::string_view name) {
  std::string found;
  for (const std::string& variable : process.env) {
    if (variable.size() > name.size() && variable[name.size()] == '=' && variable.starts_with(name)) {
      found = variable.substr(name.size() + 1);
    }
  }
  return found;
}

// Reads /etc/passwd if it is a file. The image may have anything there, such as a FIFO, whose reading would not end.
Result<std::string> read_users() {
  constexpr const char* kUsers = "/etc/passwd";
  struct stat status;
  // Before it is opened, because opening a device can have effects; and after that, because it may be another by then.
  if (::stat(kUsers, &status) < 0 || !S_ISREG(status.st_mode)) return fail(kUsers, ENOENT);
  Fd file = TRY(open_file(kUsers, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  if (::fstat(file.get(), &status) < 0 || !S_ISREG(status.st_mode)) return fail(kUsers, ENOENT);
  return read_fd(file.get());
}

// Returns the home directory: the sixth field of the line in /etc/passwd whose third field is `uid`.
std::string home_of(uid_t uid) {
  auto text = read_users();
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::vector<std::string_view> fields;
    for (size_t at = 0; at <= line.size();) {
      size_t colon = std::min(line.find(':', at), line.size());
      fields.push_back(line.substr(at, colon - at));
      at = colon + 1;
    }
    if (fields.size() >= 6 && fields[2] == std::to_string(uid) && !fields[5].empty()) return std::string(fields[5]);
  }
  return "/";
}

}  // namespace

void close_others(const ChildPlan& plan, const std::vector<int>& others) {
  std::vector<int> kept = others;
  kept.insert(kept.end(), {plan.control, plan.init_pidfd});
  for (const auto* list : {&plan.descriptors, &plan.trees, &plan.nodes}) {
    kept.insert(kept.end(), list->begin(), list->end());
  }
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (int fd : kept) {
    if (fd < static_cast<int>(next)) continue;
    if (static_cast<unsigned>(fd) > next) ::close_range(next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(next, ~0u, 0);
}

Result<std::string> find_program(const ProcessSpec& process) {
  const std::string& name = process.args[0];
  std::string quoted = "exec: \"" + name + "\"";
  if (name.find('/') != std::string::npos) {
    TRY_CONTEXT(check_program(process, name), quoted);
    return name;
  }
  std::string path = environment_value(process, "PATH");
  for (size_t at = 0; at <= path.size() && !path.empty();) {
    size_t colon = std::min(path.find(':', at), path.size());
    std::string directory = path.substr(at, colon - at);
    at = colon + 1;
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (check_program(process, candidate)) return candidate;
  }
  return fail(quoted + ": executable file not found in $PATH", ENOENT);
}

std::vector<std::string> complete_environment(const ProcessSpec& process) {
  // Each name comes once, where it came first, with its last value, as setenv(3) would have it.
  std::vector<std::string> env;
  auto set = [&env](const std::string& variable) {
    std::string_view name = std::string_view(variable).substr(0, variable.find('=') + 1);
    auto place = std::find_if(env.begin(), env.end(), [&](const auto& other) { return other.starts_with(name); });
    if (place == env.end()) {
      env.push_back(variable);
    } else {
      *place = variable;
    }
  };
  for (const std::string& variable : process.env) set(variable);
  if (environment_value(process, "HOME").empty()) set("HOME=" + home_of(process.uid));
  return env;
}

void run_first_process(const ContainerSpec& spec, ChildPlan plan) {
  auto terminal = [&]() -> Result<std::optional<Terminal>> {
    TRY(begin(plan, spec.process));
    if (!(spec.namespaces & CLONE_NEWUSER)) TRY(apply_limits(0, spec.process));
    TRY(enter_new_namespaces(spec, plan));
    return build_container(spec, plan);
  }();
  if (!terminal) give_up(plan, terminal.error());
  execute(spec.process, spec.start_hooks, plan, std::move(*terminal));
}

void run_exec_process(const ProcessSpec& spec, ChildPlan plan) {
  auto terminal = [&]() -> Result<std::optional<Terminal>> {
    TRY(apply_exec_affinity(spec));
    TRY(begin(plan, spec));
    TRY(apply_limits(0, spec));
    return join_container(spec, plan);
  }();
  if (!terminal) give_up(plan, terminal.error());
  execute(spec, {}, plan, std::move(*terminal));
}

}  // namespace nacre::guest
