// SPDX-License-Identifier: Apache-2.0
#include "vmm/cli.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "devices/virtio/fs/fd_budget.h"
#include "vmm/api/config.h"
#include "vmm/host/host_files.h"
#include "vmm/jail/filters.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"
#include "vmm/selftest/selftest.h"

namespace nacre::vmm {

namespace {

constexpr const char* kFooter =
    "Exit status: 0 the guest powered off, 1 error, 2 wrong usage, 3 reset, 4 triple fault, 5 KVM failed, 6 ended from "
    "outside.\nOn a terminal, ^A x ends the machine.";

int report(const Error& error, ExitStatus status) {
  fmt::print(stderr, "vmm: {}\n", one_line(error.message()));
  return static_cast<int>(status);
}

struct Options {
  std::string config_file;
  std::string kernel, initrd, cmdline, memory, memory_backing, max_memory, vsock, control;
  std::optional<unsigned> cpus, max_cpus;
  std::vector<std::string> fs, net;
  bool no_console = false;
};

void define(CLI::App& app, Options& options) {
  app.add_option("--config", options.config_file, "TOML file with the same options; those given here win");
  app.add_option("--kernel", options.kernel, "ELF vmlinux or bzImage");
  app.add_option("--initrd", options.initrd, "initramfs");
  app.add_option("--cmdline", options.cmdline, "kernel command line");
  app.add_option("--memory", options.memory, "guest memory, such as 512M (the default) or 2G");
  app.add_option("--memory-backing", options.memory_backing, "anonymous (the default), memfd, or a file that holds it");
  app.add_option("--cpus", options.cpus, "virtual CPUs, 1 to 64 (default 1)");
  app.add_option("--max-memory", options.max_memory, "how far the memory can grow while the guest runs (default: not)");
  app.add_option("--max-cpus", options.max_cpus, "and the number of CPUs");
  app.add_option("--control", options.control, "unix socket (seqpacket) that takes \"resize memory=BYTES cpus=N\"");
  app.add_option("--fs", options.fs, "virtio-fs share: tag=T,path=P[,readonly]");
  app.add_option("--net", options.net, "virtio-net on a tap that exists: tap=NAME[,mac=XX:XX:XX:XX:XX:XX]");
  app.add_option("--vsock", options.vsock, "virtio-vsock: cid=N,uds=PATH");
  app.add_flag("--no-console", options.no_console, "no serial console on stdin and stdout");
}

Result<Config> build_config(const Options& options) {
  Config config;
  if (!options.config_file.empty()) {
    std::string text = TRY(read_file(options.config_file));
    config = TRY_CONTEXT(parse_toml(text), options.config_file);
  }
  if (!options.kernel.empty()) config.kernel = options.kernel;
  if (!options.initrd.empty()) config.initrd = options.initrd;
  if (!options.cmdline.empty()) config.cmdline = options.cmdline;
  if (!options.memory.empty()) config.memory = TRY_CONTEXT(parse_size(options.memory), "--memory");
  if (!options.memory_backing.empty()) config.memory_backing = options.memory_backing;
  if (options.cpus) config.cpus = *options.cpus;
  if (!options.max_memory.empty()) config.max_memory = TRY_CONTEXT(parse_size(options.max_memory), "--max-memory");
  if (options.max_cpus) config.max_cpus = *options.max_cpus;
  if (!options.control.empty()) config.control = Control{.path = options.control};
  if (options.no_console) config.console = false;
  for (const std::string& text : options.fs) config.fs.push_back(TRY(parse_fs(text)));
  for (const std::string& text : options.net) config.net.push_back(TRY(parse_net(text)));
  if (!options.vsock.empty()) config.vsock = TRY(parse_vsock(options.vsock));
  TRY(check(config));
  return config;
}

Result<End> run_machine(const Config& config, HostFiles files, const ThreadLock& lock) {
  if (config.jail.enabled) TRY(enter_jail(config, files, lock));
  ThreadStarts starts{.main = [&lock] { return lock(ThreadKind::main); },
                      .vcpu = [&lock] { return lock(ThreadKind::vcpu); },
                      .file_server = [&lock] { return lock(ThreadKind::file_server); },
                      .net = [&lock] { return lock(ThreadKind::net); }};
  std::unique_ptr<Machine> machine = TRY(Machine::create(config, files, std::move(starts)));
  End end = TRY(machine->run());
  if (end.status == ExitStatus::kvm_failure && !config.jail.enabled) {
    // Most often it is the host: a KVM that emulates and gives up. Then say that, and not what it died of. In the jail
    // no other VM can be made; whoever has started vmm can run `vmm check`.
    machine.reset();
    Result<void> verdict = check_kvm(files.kvm);
    if (!verdict) end.message = verdict.error().message();
  }
  return end;
}

int run(const Config& config, const std::function<void(ThreadKind)>& locked) {
  virtio::fs::FdBudget::raise_limit();
  ::signal(SIGPIPE, SIG_IGN);
  Result<HostFiles> files = open_host_files(config);
  if (!files) return report(files.error(), ExitStatus::error);
  ThreadLock lock = [&](ThreadKind kind) -> Result<void> {
    TRY(lock_thread(kind, config.jail));
    if (locked) locked(kind);
    return {};
  };
  Result<End> end = run_machine(config, std::move(*files), lock);
  if (!config.jail.enabled && config.vsock && config.vsock->listen_fd < 0) ::unlink(config.vsock->uds.c_str());
  if (config.control && config.control->listen_fd < 0) ::unlink(config.control->path.c_str());
  if (!end) return report(end.error(), ExitStatus::error);
  if (!end->message.empty()) return report(Error(end->message), end->status);
  return static_cast<int>(end->status);
}

int check_host() {
  Result<Kvm> kvm = Kvm::open();
  if (!kvm) return report(kvm.error(), ExitStatus::error);
  Result<void> verdict = check_kvm(*kvm);
  if (!verdict) return report(verdict.error(), ExitStatus::error);
  fmt::print("this host's KVM can run Linux guests\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv, const std::function<void(ThreadKind)>& locked) {
  CLI::App app{"vmm - a small virtual machine monitor on KVM", "vmm"};
  app.set_version_flag("--version", "vmm version " NACRE_VERSION);
  app.footer(kFooter);
  Options options;
  define(app, options);
  CLI::App* check_command = app.add_subcommand("check", "say whether this host's KVM can run Linux guests");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return report(Error(error.what()), ExitStatus::usage);
  }
  if (check_command->parsed()) return check_host();
  Result<Config> config = build_config(options);
  if (!config) return report(config.error(), ExitStatus::usage);
  return run(*config, locked);
}

}  // namespace nacre::vmm
