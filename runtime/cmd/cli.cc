// SPDX-License-Identifier: Apache-2.0
// Parses the command line, with runc's commands and flags, runs the command, and reports its outcome.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "base/bad_alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/help.h"
#include "runtime/cmd/logging.h"
#include "runtime/config/config.h"
#include "runtime/container/standin/inherited_fds.h"
#include "runtime/state/store.h"
#include "version.h"

namespace nacre::cmd {

namespace {

constexpr int kFailure = 1;
constexpr int kUnknownCommand = 3;
constexpr int kExecSetupFailure = 255;  // a status that is unlikely to be the process's own

// The result of parsing: the command and its options.
struct Request {
  Globals globals;
  std::function<Result<int>()> action;
  int failure = kFailure;
  CreateOptions create;
  ExecOptions exec;
  KillOptions kill;
  DeleteOptions remove;
  ListOptions list;
  PsOptions ps;
  EventsOptions events;
  UpdateOptions update;
  SpecOptions spec;
  std::string id;
  bool version = false;
  std::string ignored;  // accepted for the sake of crun's callers
};

// Adds a flag that takes one value each time it is given. By default, CLI11 would take all values that follow.
template <typename T>
void add_repeated(CLI::App* app, const std::string& names, std::vector<T>& values, const std::string& help) {
  app->add_option(names, values, help)->allow_extra_args(false);
}

void add_id(CLI::App* app, std::string& id) {
  app->add_option("container-id", id, "the container's name")->required();
}

// Makes a prefix command: everything after the container's id belongs to the program, flags included.
void take_words(CLI::App* command, std::string& id, std::vector<std::string>& args) {
  std::vector<std::string> words = command->remaining();
  if (!words.empty() && words[0] == "--") words.erase(words.begin());
  if (words.empty()) throw CLI::RequiredError("container-id");
  if (words[0].starts_with("-")) throw CLI::ExtrasError({words[0]});
  id = words[0];
  args.assign(words.begin() + 1, words.end());
}

void add_globals(CLI::App& app, Request& request) {
  Globals& globals = request.globals;
  globals.root = runtime::default_root();
  app.add_flag("--debug", globals.debug, "log debug lines and keep the guest's console");
  app.add_option("--log", globals.log, "file for log lines (default: stderr)");
  app.add_option("--log-format", globals.log_format, "text or json")->check(CLI::IsMember({"text", "json"}));
  app.add_option("--root", globals.root, "directory for the state of containers")->capture_default_str();
  app.add_flag("--systemd-cgroup", globals.systemd_cgroup, "linux.cgroupsPath is of the form slice:prefix:name");
  app.add_option("--rootless", globals.rootless, "true, false or auto");
  app.add_option("--criu", request.ignored)->group("");
  app.add_option("--cgroup-manager", request.ignored)->group("");
  app.add_option("--config", request.ignored)->group("");
  app.add_flag("-v,--version", request.version, "print the version");
}

void add_create_options(CLI::App* app, CreateOptions& options) {
  app->add_option("-b,--bundle", options.container.bundle,
                  "directory with config.json (default: the working directory)");
  app->add_option("-f,--config", options.container.config, "another file than the bundle's config.json");
  app->add_option("--console-socket", options.container.console_socket, "AF_UNIX socket that gets the terminal");
  app->add_option("--pidfd-socket", options.container.pidfd_socket, "AF_UNIX socket that gets the process's pidfd");
  app->add_option("--pid-file", options.container.pid_file, "file to write the process id to");
  app->add_flag("--no-pivot", options.no_pivot, "accepted");
  app->add_flag("--no-new-keyring", options.no_new_keyring, "accepted");
  app->add_option("--preserve-fds", options.container.preserve_fds, "number of descriptors to pass on");
  add_id(app, options.container.id);
}

void add_create(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("create", "create a container");
  add_create_options(command, request.create);
  command->callback([&] { request.action = [&] { return create(request.globals, request.create); }; });
}

void add_run(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("run", "create and run a container");
  add_create_options(command, request.create);
  command->add_flag("-d,--detach", request.create.detach, "leave the container running in the background");
  command->add_flag("--keep", request.create.keep, "do not delete the container after its end");
  command->add_flag("--no-subreaper", request.create.no_subreaper, "accepted");
  command->callback([&] { request.action = [&] { return run(request.globals, request.create); }; });
}

void add_start(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("start", "start a created container");
  add_id(command, request.id);
  command->callback([&] { request.action = [&] { return start(request.globals, request.id); }; });
}

void add_state(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("state", "print the state of a container");
  add_id(command, request.id);
  command->callback([&] { request.action = [&] { return state(request.globals, request.id); }; });
}

void add_kill(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("kill", "send a signal (default: SIGTERM) to a container's first process");
  command->add_flag("-a,--all", request.kill.all, "send it to all processes of the container");
  add_id(command, request.kill.id);
  command->add_option("signal", request.kill.signal, "a name or a number");
  command->callback([&] { request.action = [&] { return kill(request.globals, request.kill); }; });
}

void add_delete(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("delete", "delete a container");
  command->add_flag("-f,--force", request.remove.force, "kill it first; a missing container is no error");
  add_id(command, request.remove.id);
  command->callback([&] { request.action = [&] { return remove(request.globals, request.remove); }; });
}

void add_list(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("list", "list containers");
  command->add_option("-f,--format", request.list.format, "table or json");
  command->add_flag("-q,--quiet", request.list.quiet, "ids only");
  command->callback([&] { request.action = [&] { return list(request.globals, request.list); }; });
}

void add_spec(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("spec", "write a template of config.json");
  command->add_option("-b,--bundle", request.spec.bundle, "directory to write to");
  command->add_flag("--rootless", request.spec.rootless, "for an unprivileged user");
  command->callback([&] { request.action = [&] { return spec(request.globals, request.spec); }; });
}

void add_exec(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("exec", "run another process in a container");
  ExecOptions& options = request.exec;
  command->add_option("--console-socket", options.console_socket, "AF_UNIX socket that gets the terminal");
  command->add_option("--pidfd-socket", options.pidfd_socket, "AF_UNIX socket that gets the process's pidfd");
  command->add_option("--cwd", options.cwd, "working directory");
  add_repeated(command, "-e,--env", options.env, "NAME=VALUE");
  command->add_flag("-t,--tty", options.tty, "allocate a terminal");
  command->add_option("-u,--user", options.user, "UID[:GID]");
  add_repeated(command, "-g,--additional-gids", options.additional_gids, "a further group");
  command->add_option("-p,--process", options.process, "file with an OCI process");
  command->add_flag("-d,--detach", options.detach, "leave the process running in the background");
  command->add_option("--pid-file", options.pid_file, "file to write the process id to");
  command->add_option("--process-label", options.process_label, "SELinux label");
  command->add_option("--apparmor", options.apparmor, "AppArmor profile");
  command->add_flag("--no-new-privs", options.no_new_privs, "set noNewPrivileges");
  add_repeated(command, "-c,--cap", options.capabilities, "a further capability");
  command->add_option("--preserve-fds", options.preserve_fds, "number of descriptors to pass on");
  add_repeated(command, "--cgroup", options.cgroups, "cgroup of the process");
  command->add_flag("--ignore-paused", options.ignore_paused, "even if the container is paused");
  command->prefix_command(true);
  command->callback([&request, command] {
    take_words(command, request.exec.id, request.exec.args);
    request.failure = kExecSetupFailure;
    request.action = [&request] { return exec(request.globals, request.exec); };
  });
}

void add_pause_and_resume(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("pause", "stop all processes of a container");
  add_id(command, request.id);
  command->callback([&] { request.action = [&] { return pause(request.globals, request.id); }; });
  command = app.add_subcommand("resume", "let the processes of a paused container run on");
  add_id(command, request.id);
  command->callback([&] { request.action = [&] { return resume(request.globals, request.id); }; });
}

void add_ps(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("ps", "list the processes of a container");
  command->add_option("-f,--format", request.ps.format, "table, or json for pids of the host");
  command->prefix_command(true);
  command->callback([&request, command] {
    take_words(command, request.ps.id, request.ps.args);
    request.action = [&request] { return ps(request.globals, request.ps); };
  });
}

void add_events(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("events", "print statistics and out-of-memory events of a container");
  command->add_option("--interval", request.events.interval, "time between statistics (default: 5s)");
  command->add_flag("--stats", request.events.stats, "print statistics once and end");
  add_id(command, request.events.id);
  command->callback([&] { request.action = [&] { return events(request.globals, request.events); }; });
}

void add_update(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("update", "change the resource limits of a container");
  UpdateOptions& options = request.update;
  oci::ResourceFlags& flags = options.flags;
  command->add_option("-r,--resources", options.resources,
                      "file with OCI resources, - for stdin; other flags are ignored");
  command->add_option("--blkio-weight", flags.blkio_weight, "share of disk time, 10 to 1000");
  command->add_option("--cpu-period", flags.cpu_period, "microseconds in which --cpu-quota may be used");
  command->add_option("--cpu-quota", flags.cpu_quota, "microseconds of CPU time in a period");
  command->add_option("--cpu-burst", flags.cpu_burst, "microseconds that may be saved up");
  command->add_option("--cpu-share", flags.cpu_share, "CPU shares, relative to others");
  command->add_option("--cpu-rt-period", flags.cpu_rt_period, "realtime period, not possible with cgroup v2");
  command->add_option("--cpu-rt-runtime", flags.cpu_rt_runtime, "realtime runtime, not possible with cgroup v2");
  command->add_option("--cpu-idle", flags.cpu_idle, "1: runs when nobody else does");
  command->add_option("--cpuset-cpus", flags.cpuset_cpus, "CPUs of the host, as 0-3,7");
  command->add_option("--cpuset-mems", flags.cpuset_mems, "memory nodes of the host");
  command->add_option("--memory", flags.memory, "memory limit, as 128m; -1: none");
  command->add_option("--memory-reservation", flags.memory_reservation, "memory kept from reclaim");
  command->add_option("--memory-swap", flags.memory_swap, "limit of memory and swap; -1: none");
  command->add_option("--kernel-memory", flags.kernel_memory, "accepted");
  command->add_option("--kernel-memory-tcp", flags.kernel_memory_tcp, "accepted");
  command->add_option("--pids-limit", flags.pids_limit, "number of processes; -1: no limit");
  command->add_option("--l3-cache-schema", options.l3_cache_schema, "Intel RDT/CAT: the L3 cache's schema");
  command->add_option("--mem-bw-schema", options.mem_bw_schema, "Intel RDT/MBA: the memory bandwidth's schema");
  add_id(command, options.id);
  command->callback([&] { request.action = [&] { return update(request.globals, request.update); }; });
}

void add_features(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand("features", "print what this runtime can do, as JSON");
  command->callback([&] { request.action = [&] { return features(request.globals); }; });
}

void add_later(CLI::App& app, Request& request) {
  for (const char* name : {"checkpoint", "restore"}) {
    CLI::App* command = app.add_subcommand(name, "not supported by this version");
    command->prefix_command(true);
    command->callback([&request, name] {
      request.action = [name] { return fail(std::string(name) + ": not supported by this version", EOPNOTSUPP); };
    });
  }
}

Result<int> print_version() {
  std::string text = "nacre version " NACRE_VERSION "\ncommit: " NACRE_COMMIT "\nspec: ";
  TRY(write_all(STDOUT_FILENO, text + oci::kSpecVersion + "\n"));
  return 0;
}

// Opens /dev/null for closed standard descriptors, so that later descriptors do not get the numbers 0 to 2.
void fill_stdio() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", O_RDWR);  // open(2) returns the lowest free number, `fd`
  }
}

// Returns runc's error if the first word is not a command.
std::optional<std::string> unknown_command(const CLI::App& app) {
  if (!app.get_subcommands().empty()) return std::nullopt;
  for (const std::string& word : app.remaining()) {
    if (!word.starts_with('-')) return "No help topic for '" + word + "'";
  }
  return std::nullopt;
}

// Parses the command line. Returns false if nothing is left to do, as after --help; `status` is then the exit status.
bool parse(CLI::App& app, int argc, char** argv, Request& request, int& status) {
  auto refuse = [&](const std::string& why, int with) {
    status = with;
    (void)open_log(request.globals);
    log_failure(request.globals, why);
    return false;
  };
  try {
    app.parse(argc, argv);
    if (request.version) request.action = print_version;
    // The stand-in leaves the working directory.
    std::error_code none;
    auto root = std::filesystem::absolute(request.globals.root, none);
    if (!none && !request.globals.root.empty()) request.globals.root = root.string();
    request.globals.root_given = app.count("--root") > 0;
    if (request.action) return true;
    std::fputs(app.help().c_str(), stdout);
    status = 0;
  } catch (const CLI::CallForHelp&) {
    if (auto unknown = unknown_command(app)) return refuse(*unknown, kUnknownCommand);
    std::fputs(app.help().c_str(), stdout);
    status = 0;
  } catch (const CLI::ParseError& error) {
    if (auto unknown = unknown_command(app)) return refuse(*unknown, kUnknownCommand);
    return refuse(error.what(), kFailure);
  }
  return false;
}

int parse_and_run(int argc, char** argv) {
  fill_stdio();
  runtime::note_inherited_fds();
  Request request;
  CLI::App app("runs OCI containers, each in a microVM of its own", "nacre");
  app.formatter(std::make_shared<HelpText>());
  add_globals(app, request);
  add_create(app, request);
  add_run(app, request);
  add_start(app, request);
  add_state(app, request);
  add_kill(app, request);
  add_delete(app, request);
  add_list(app, request);
  add_exec(app, request);
  add_pause_and_resume(app, request);
  add_ps(app, request);
  add_events(app, request);
  add_update(app, request);
  add_spec(app, request);
  add_features(app, request);
  add_later(app, request);

  int status = 0;
  if (!parse(app, argc, argv, request, status)) return status;
  if (auto opened = open_log(request.globals); !opened) {
    std::fprintf(stderr, "%s\n", opened.error().message().c_str());
    return request.failure;
  }
  for (const auto* command : app.get_subcommands()) {
    log_debug("nacre " NACRE_VERSION " (" NACRE_COMMIT "): " + command->get_name());
  }
  Result<int> outcome = catch_bad_alloc(request.action);
  if (!outcome) {
    log_failure(request.globals, outcome.error().message());
    return request.failure;
  }
  keep_log();
  return *outcome;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::bad_alloc&) {  // beside the command itself
    constexpr std::string_view kLine = "nacre: out of memory\n";
    (void)!::write(STDERR_FILENO, kLine.data(), kLine.size());
    return kFailure;
  }
}

}  // namespace nacre::cmd
