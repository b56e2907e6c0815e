// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/machine.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>

#include "devices/virtio/fs/fs_device.h"
#include "devices/virtio/net/device.h"
#include "devices/virtio/vsock/device.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/resize.h"

namespace nacre::vmm {

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, HostFiles& files, ThreadStarts thread_starts) {
  std::unique_ptr<Machine> machine(new Machine(TRY(files.kvm.create_vm()), std::move(thread_starts.main)));
  machine->loop_ = TRY(EventLoop::create());
  machine->end_ = std::make_unique<EndSignal>(*machine->loop_);
  TRY(machine->create_memory(config, files));
  TRY(arch::set_up_vm(machine->vm_));
  TRY(machine->create_board(config));
  TRY(machine->create_fs(config, files, thread_starts.file_server));
  TRY(machine->create_nets(files, thread_starts.net));
  TRY(machine->create_vsock(config, files));
  TRY(machine->create_hotplug_memory());
  GuestAddress entry = TRY(machine->load_guest(config, files));
  TRY(machine->create_cpus(config, files, entry, std::move(thread_starts.vcpu)));
  TRY(machine->watch_host(files));
  TRY(machine->create_control(files));
  return machine;
}

Machine::~Machine() {
  stop_cpus();
}

Result<void> Machine::create_memory(const Config& config, HostFiles& files) {
  MemorySize size{.boot = config.memory, .max = std::max(config.max_memory, config.memory)};
  std::shared_ptr<const Fd> file;
  if (files.memory) file = std::make_shared<const Fd>(std::move(files.memory));
  memory_ = TRY(MachineMemory::create(vm_, size, std::move(file)));
  return {};
}

Result<void> Machine::create_board(const Config& config) {
  board_ = std::make_unique<DeviceBoard>(vm_, memory_->guest(), *loop_, *end_);
  TRY(config.console ? board_->add_console() : board_->add_crash_log());
  return board_->add_power();
}

Result<void> Machine::create_fs(const Config& config, HostFiles& files, const ThreadStart& thread_start) {
  for (size_t i = 0; i < config.fs.size(); i++) {
    virtio::FsOptions options;
    options.tag = config.fs[i].tag;
    options.root = std::move(files.fs_roots[i]);
    options.readonly = config.fs[i].readonly;
    options.proc_self_fd = files.proc_self_fd.get();
    options.node_maker = files.node_maker.get();
    options.thread_start = thread_start;
    auto device = TRY_CONTEXT(virtio::FsDevice::create(std::move(options)), "fs " + config.fs[i].tag);
    sharers_.add_device(config.fs[i].tag, *device);
    TRY(board_->plug(std::move(device)));
  }
  return {};
}

// Each network device has a thread of its own: what one guest sends does not delay the console and the control socket.
Result<void> Machine::create_nets(HostFiles& files, const ThreadStart& thread_start) {
  for (HostNet& net : files.nets) {
    std::unique_ptr<virtio::NetDevice> device;
    auto make = [&](EventLoop& loop) -> Result<void> {
      device = TRY(virtio::NetDevice::create(loop, {.backend = std::move(net.tap), .mac = net.mac}));
      return {};
    };
    auto start = [&]() -> Result<void> {
      Result<void> started = thread_start();
      if (!started) device.reset();  // before its loop
      return started;
    };
    net_threads_.push_back(TRY(LoopThread::create("virtio-net", start, make)));
    TRY(board_->plug(std::move(device)));
  }
  return {};
}

Result<void> Machine::create_vsock(const Config& config, HostFiles& files) {
  if (!config.vsock) return {};
  virtio::VsockOptions options;
  options.guest_cid = config.vsock->cid;
  options.uds_path = config.vsock->uds;
  options.listener = std::move(files.vsock_listener);
  for (size_t i = 0; i < files.vsock_streams.size(); i++) {
    options.streams.push_back({config.vsock->streams[i].port, std::move(files.vsock_streams[i])});
  }
  return board_->plug(TRY_CONTEXT(virtio::VsockDevice::create(*loop_, std::move(options)), "vsock"));
}

Result<void> Machine::create_hotplug_memory() {
  auto device = TRY(memory_->create_device(*loop_));
  if (!device) return {};
  mem_ = device.get();
  return board_->plug(std::move(device));
}

Result<GuestAddress> Machine::load_guest(const Config& config, HostFiles& files) {
  unsigned max_cpus = std::max(config.max_cpus, config.cpus);
  arch::GuestSoftware software{.kernel = files.kernel,
                               .initrd = files.initrd,
                               .kernel_name = config.kernel,
                               .initrd_name = config.initrd,
                               .command_line = config.cmdline};
  // The guest sees all CPUs from the start, but leaves those beyond this number alone until somebody brings them
  // online.
  if (max_cpus > config.cpus) software.command_line.insert(0, fmt::format("maxcpus={} ", config.cpus));
  GuestAddress entry = TRY(arch::load_guest(memory_->guest(), software, board_->view(max_cpus)));
  // Other guests boot from the same files. From a descriptor, even a read-only one, vmm could open a file once more to
  // write it.
  files.kernel.reset();
  files.initrd.reset();
  return entry;
}

Result<void> Machine::create_cpus(const Config& config, HostFiles& files, GuestAddress entry,
                                  ThreadStart thread_start) {
  CpuSet::Limits limits{.boot = config.cpus, .max = std::max(config.max_cpus, config.cpus)};
  cpus_ = TRY(CpuSet::create(files.kvm, vm_, limits, entry, std::move(thread_start), board_->buses(), *end_));
  return {};
}

Result<void> Machine::watch_host(HostFiles& files) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // If there is a lifeline, the holder of its other end decides. A signal to all processes of a service or of the host
  // reaches that process too, and what it does next may need the guest.
  if (files.lifeline) {
    lifeline_ = std::move(files.lifeline);
    // Nothing is ever sent on the lifeline: any event means that the other end is gone.
    return loop_->add(lifeline_.get(), EPOLLIN | EPOLLHUP, [this](uint32_t) { lifeline_ended(); });
  }
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail_errno("signalfd");
  return loop_->add(signals_.get(), EPOLLIN, [this](uint32_t) { end_->end(ExitStatus::killed); });
}

Result<void> Machine::create_control(HostFiles& files) {
  if (!files.control) return {};
  control_ = TRY(ControlServer::create(*loop_, std::move(files.control), *this));
  return {};
}

void Machine::lifeline_ended() {
  lifeline_ended_ = true;
  loop_->remove(lifeline_.get());
  if (!sharers_.any()) end_->end(ExitStatus::killed);
}

Result<MachineSize> Machine::handle(CallerId caller, const ControlRequest& request, Fd descriptor) {
  if (const auto* wanted = std::get_if<Resize>(&request)) TRY(resize(*wanted));
  if (std::holds_alternative<Hold>(request)) sharers_.hold(caller);
  if (const auto* tree = std::get_if<Share>(&request)) TRY(sharers_.share(caller, *tree, std::move(descriptor)));
  if (const auto* tree = std::get_if<Unshare>(&request)) TRY(sharers_.unshare(caller, *tree));
  return size();
}

void Machine::caller_is_gone(CallerId caller) {
  sharers_.leave(caller);
  if (lifeline_ended_ && !sharers_.any()) end_->end(ExitStatus::killed);
}

Result<void> Machine::resize(const Resize& request) {
  TRY(check_resize(request, memory_->size(), cpus_->max()));
  if (request.memory && mem_ != nullptr) TRY(mem_->request_size(*request.memory - memory_->size().boot));
  if (request.cpus) TRY(cpus_->add_up_to(*request.cpus));
  return {};
}

MachineSize Machine::size() const {
  const MemorySize& memory = memory_->size();
  MachineSize size{.max_memory = memory.max, .cpus = cpus_->count(), .max_cpus = cpus_->max()};
  size.memory = memory.boot + (mem_ == nullptr ? 0 : mem_->requested_size());
  size.present = memory.boot + (mem_ == nullptr ? 0 : mem_->plugged_size());
  return size;
}

void Machine::stop_cpus() {
  control_.reset();  // its callers could make more
  if (cpus_) cpus_->stop(*loop_);
}

Result<End> Machine::run() {
  // One turn makes this thread the loop's own, before a CPU can hand it work.
  TRY(loop_->run_once(0));
  if (main_start_) TRY(main_start_());
  TRY(cpus_->start());
  TRY(loop_->run());
  stop_cpus();
  End end = end_->get().value_or(End{ExitStatus::error, "the event loop stopped by itself"});
  if (end.status == ExitStatus::reset || end.status == ExitStatus::triple_fault) {
    if (std::string said = board_->crash_summary(); !said.empty()) {
      end.message += (end.message.empty() ? "" : "; ") + ("the guest's kernel said: " + said);
    }
  }
  return end;
}

}  // namespace nacre::vmm
