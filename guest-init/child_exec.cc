#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstring>

#include "guest-init/child.h"
#include "guest-init/child_channel.h"

namespace nacre::guest {

namespace {

constexpr int kSetupFailed = 1;
constexpr rlim_t kUsualFiles = 1024;
constexpr int kNotFound = 127, kNotExecutable = 126;  // as a shell says it

// Everything else that guest-init had open belongs to other containers: a copy of the writing end of another's stdin
// would keep that from ending.
void close_others(const ChildPlan& plan) {
  std::vector<int> kept = {plan.control, plan.init_pidfd};
  kept.insert(kept.end(), plan.stdio.begin(), plan.stdio.end());
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (int fd : kept) {
    if (fd < static_cast<int>(next)) continue;
    if (static_cast<unsigned>(fd) > next) ::close_range(next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(next, ~0u, 0);
}

Result<void> set_stdio(const ChildPlan& plan, const ProcessSpec& process) {
  for (int number = 0; number < 3; number++) {
    int fd = plan.stdio[static_cast<size_t>(number)];
    Fd null;
    if (fd < 0) {
      null = TRY(open_file("/dev/null", number == 0 ? O_RDONLY : O_WRONLY));
      fd = null.get();
    } else if (::fchown(fd, process.uid, process.gid) < 0) {
      // Without it the user could not open /dev/stdout.
      return fail_errno("chown of a stdio pipe");
    }
    if (::dup2(fd, number) < 0) return fail_errno("dup2");
  }
  for (int fd : plan.stdio) {
    if (fd > 2) ::close(fd);
  }
  return {};
}

// What every process needs first, and needs root's rights for.
Result<void> begin(const ChildPlan& plan, const ProcessSpec& process) {
  // Processes of the container could otherwise take hold of this one while it is still a copy of guest-init.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::setsid() < 0) return fail_errno("setsid");
  close_others(plan);
  TRY(set_stdio(plan, process));
  if (process.oom_score_adj) {
    Fd file = TRY(open_file("/proc/self/oom_score_adj", O_WRONLY));
    TRY_CONTEXT(write_all(file.get(), std::to_string(*process.oom_score_adj)), "set oom_score_adj");
  }
  if (process.personality && ::personality(*process.personality) < 0) return fail_errno("set personality");
  // guest-init's own limit is for its many streams; programs that close every possible descriptor want the usual one.
  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > kUsualFiles) {
    files.rlim_cur = kUsualFiles;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  return apply_rlimits(process.rlimits);
}

Result<void> write_sysctls(int proc, const std::vector<std::pair<std::string, std::string>>& sysctls) {
  for (const auto& [name, value] : sysctls) {
    Fd file = TRY_CONTEXT(open_at(proc, "sys/" + name, O_WRONLY), "sysctl " + name);
    TRY_CONTEXT(write_all(file.get(), value), "sysctl " + name);
  }
  return {};
}

Result<std::optional<Terminal>> build_container(const ContainerSpec& spec) {
  // The machine's own /proc: the container may have none, or one that lies.
  Fd proc = TRY(open_file("/proc", O_PATH | O_DIRECTORY));
  // Only now, in the container's cgroup, does a new namespace have that as its root.
  if ((spec.namespaces & CLONE_NEWCGROUP) && ::unshare(CLONE_NEWCGROUP) < 0) return fail_errno("unshare cgroup");
  auto terminal = TRY(build_root(spec));
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) < 0) {
    return fail_errno("set hostname");
  }
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) < 0) {
    return fail_errno("set domainname");
  }
  TRY(write_sysctls(proc.get(), spec.sysctls));
  return terminal;
}

// As an exec'ed process, which finds the container built.
Result<std::optional<Terminal>> join_container(const ProcessSpec& process, const ChildPlan& plan) {
  if (::setns(plan.init_pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP) < 0) {
    return fail_errno("join the container's namespaces");
  }
  if (!process.terminal) return std::nullopt;
  Rootfs root(TRY(open_file("/", O_PATH | O_DIRECTORY)));
  return TRY_CONTEXT(open_terminal(root, *process.terminal, process.uid), "terminal");
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

[[noreturn]] void execute(const ProcessSpec& process, const ChildPlan& plan, std::optional<Terminal> terminal) {
  auto program = [&]() -> Result<std::string> {
    if (terminal) TRY(take_terminal(*terminal));
    TRY(become_user(process));
    return find_program(process);
  }();
  if (!program) {
    report_error(plan.control, program.error());
    ::_exit(kSetupFailed);
  }
  std::vector<std::string> args = process.args;
  std::vector<std::string> env = complete_environment(process);
  std::vector<char*> argv = pointers(args), envp = pointers(env);
  report_ready(plan.control, terminal ? terminal->master.get() : -1);
  terminal.reset();
  if (!wait_for_go(plan.control)) ::_exit(kSetupFailed);
  ::execve(program->c_str(), argv.data(), envp.data());
  int code = errno;
  report_error(plan.control, Error("exec " + *program + ": " + lower_strerror(code), code));
  ::_exit(code == ENOENT ? kNotFound : kNotExecutable);
}

[[noreturn]] void give_up(const ChildPlan& plan, const Error& error) {
  report_error(plan.control, error);
  ::_exit(kSetupFailed);
}

Result<void> check_program(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) < 0) return fail("stat " + path + ": " + lower_strerror(errno), errno);
  if (S_ISDIR(status.st_mode)) return fail("is a directory", EACCES);
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) < 0) return fail(lower_strerror(errno), errno);
  return {};
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

// The sixth field of the line in /etc/passwd whose third is `uid`.
std::string home_of(uid_t uid) {
  auto text = read_file("/etc/passwd");
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

std::string lower_strerror(int code) {
  std::string text = ::strerror(code);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

Result<std::string> find_program(const ProcessSpec& process) {
  const std::string& name = process.args[0];
  std::string quoted = "exec: \"" + name + "\"";
  if (name.find('/') != std::string::npos) {
    TRY_CONTEXT(check_program(name), quoted);
    return name;
  }
  std::string path = environment_value(process, "PATH");
  for (size_t at = 0; at <= path.size() && !path.empty();) {
    size_t colon = std::min(path.find(':', at), path.size());
    std::string directory = path.substr(at, colon - at);
    at = colon + 1;
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (check_program(candidate)) return candidate;
  }
  return fail(quoted + ": executable file not found in $PATH", ENOENT);
}

std::vector<std::string> complete_environment(const ProcessSpec& process) {
  std::vector<std::string> env = process.env;
  bool has_home =
      std::any_of(env.begin(), env.end(), [](const auto& variable) { return variable.starts_with("HOME="); });
  if (!has_home) env.push_back("HOME=" + home_of(process.uid));
  return env;
}

void run_first_process(const ContainerSpec& spec, const ChildPlan& plan) {
  auto terminal = [&]() -> Result<std::optional<Terminal>> {
    TRY(begin(plan, spec.process));
    return build_container(spec);
  }();
  if (!terminal) give_up(plan, terminal.error());
  execute(spec.process, plan, std::move(*terminal));
}

void run_exec_process(const ProcessSpec& spec, const ChildPlan& plan) {
  auto terminal = [&]() -> Result<std::optional<Terminal>> {
    TRY(begin(plan, spec));
    return join_container(spec, plan);
  }();
  if (!terminal) give_up(plan, terminal.error());
  execute(spec, plan, std::move(*terminal));
}

}  // namespace nacre::guest
