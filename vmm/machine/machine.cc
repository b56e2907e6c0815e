#include "vmm/machine/machine.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <csignal>

#include "devices/virtio/fs/fs_device.h"
#include "devices/virtio/vsock/device.h"
#include "vmm/arch/x86_64/acpi.h"
#include "vmm/arch/x86_64/boot.h"
#include "vmm/arch/x86_64/cpu.h"
#include "vmm/arch/x86_64/layout.h"

namespace nacre::vmm {

namespace {

using namespace x86_64;

constexpr size_t kHugePage = 2 << 20;
constexpr int kStopPollMs = 10;
constexpr uint32_t kFirstHotplugSlot = 8;

uint32_t virtio_base(size_t index) {
  return static_cast<uint32_t>(kVirtioMmio.value + index * virtio::MmioTransport::kWindowSize);
}

uint32_t virtio_irq(size_t index) {
  return kFirstVirtioIrq + static_cast<uint32_t>(index);
}

// RAM is reserved, not committed, so the kernel's own check lets almost anything pass. A guest larger than all of the
// host's memory can only end badly: say so at once.
Result<void> check_host_memory(uint64_t size) {
  struct sysinfo info;
  if (::sysinfo(&info) < 0) return fail_errno("sysinfo");
  uint64_t total = (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
  if (size > total) {
    return fail(fmt::format("no memory for the guest: {} MiB asked, the host has {} MiB", size >> 20, total >> 20),
                ENOMEM);
  }
  return {};
}

uint64_t ram_end(uint64_t memory) {
  return memory > kMmioHoleStart ? kMmioHoleEnd + (memory - kMmioHoleStart) : memory;
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, HostFiles& files, ThreadStart thread_start) {
  std::unique_ptr<Machine> machine(new Machine(TRY(files.kvm.create_vm())));
  machine->thread_start_ = std::move(thread_start);
  machine->loop_ = TRY(EventLoop::create());
  machine->end_ = std::make_unique<EndSignal>(*machine->loop_);
  machine->max_cpus_ = std::max(config.max_cpus, config.cpus);
  TRY(machine->create_memory(config));
  TRY(machine->vm_.set_identity_map_address(kIdentityMap));
  TRY(machine->vm_.set_tss_address(kTss));
  TRY(machine->vm_.create_irqchip());
  TRY(machine->create_console(config.console));
  TRY(machine->create_power());
  TRY(machine->create_fs(config, files));
  TRY(machine->create_vsock(config, files));
  TRY(machine->create_hotplug_memory());
  TRY(machine->load_guest(config, files));
  TRY(machine->create_vcpus(config, files));
  TRY(machine->watch_host(files));
  TRY(machine->create_control(files));
  return machine;
}

Machine::~Machine() {
  stop_vcpus();
}

Result<void> Machine::create_memory(const Config& config) {
  uint64_t size = boot_memory_ = config.memory;
  max_memory_ = std::max(config.max_memory, size);
  TRY(check_host_memory(size));
  uint64_t low = std::min(size, kMmioHoleStart);
  std::vector<GuestMemory::Region> regions;
  regions.push_back({GuestAddress{0}, TRY_CONTEXT(Mapping::anonymous(low, kHugePage), "no memory for the guest")});
  if (size > low) {
    Mapping high = TRY_CONTEXT(Mapping::anonymous(size - low, kHugePage), "no memory for the guest");
    regions.push_back({GuestAddress{kMmioHoleEnd}, std::move(high)});
  }
  if (max_memory_ > size) regions.push_back(TRY(reserve_hotplug(max_memory_ - size)));
  memory_ = std::make_unique<GuestMemory>(std::move(regions));
  uint32_t slot = 0;
  for (const auto& region : memory_->regions()) {
    if (region.plugged) continue;
    TRY_CONTEXT(vm_.add_memory(slot++, region.start, region.mapping.bytes()), "no memory for the guest");
  }
  return {};
}

Result<void> Machine::create_console(bool enabled) {
  if (!enabled) return {};
  serial_irq_ = TRY(IrqFd::create(vm_, kCom1Irq));
  serial_sink_ = TRY(SerialFdSink::create(*loop_, STDOUT_FILENO));
  serial_ = std::make_unique<Serial>(*serial_irq_, *serial_sink_);
  serial_sink_->set_on_room([this] { serial_->output_ready(); });
  console_ = TRY(Console::create(*loop_, *serial_, [this] { end_->end(ExitStatus::killed); }));
  return ports_.add(kCom1Port, Serial::kWindowSize, *serial_);
}

Result<void> Machine::create_power() {
  auto reset = [this] { end_->end(ExitStatus::reset); };
  power_ = std::make_unique<PowerDevice>([this] { end_->end(ExitStatus::power_off); }, reset);
  keyboard_ = std::make_unique<KeyboardReset>(reset);
  TRY(ports_.add(kPowerPort, 3, *power_));
  return ports_.add(kKeyboardPort, 5, *keyboard_);
}

Result<void> Machine::create_fs(const Config& config, HostFiles& files) {
  for (size_t i = 0; i < config.fs.size(); i++) {
    virtio::FsOptions options;
    options.tag = config.fs[i].tag;
    options.root = std::move(files.fs_roots[i]);
    options.readonly = config.fs[i].readonly;
    options.proc_self_fd = files.proc_self_fd.get();
    options.node_maker = files.node_maker.get();
    auto device = TRY_CONTEXT(virtio::FsDevice::create(std::move(options)), "fs " + config.fs[i].tag);
    sharers_.add_device(config.fs[i].tag, *device);
    TRY(plug(std::move(device)));
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
  return plug(TRY_CONTEXT(virtio::VsockDevice::create(*loop_, std::move(options)), "vsock"));
}

// Addresses only: it costs nothing.
Result<GuestMemory::Region> Machine::reserve_hotplug(uint64_t size) {
  uint64_t end = ram_end(boot_memory_), chunk = hotplug_chunk(end);
  auto round_up = [chunk](uint64_t value) { return (value + chunk - 1) / chunk * chunk; };
  GuestAddress start{std::max(kMmioHoleEnd, round_up(end + 1))};
  Mapping host = TRY_CONTEXT(Mapping::reserve(round_up(size), kHugePage), "no room for memory to come");
  hotplug_blocks_ = std::make_shared<PluggedBlocks>(kHotplugBlock, host.size() / kHotplugBlock);
  return GuestMemory::Region{start, std::move(host), hotplug_blocks_};
}

Result<void> Machine::create_hotplug_memory() {
  if (!hotplug_blocks_) return {};
  const GuestMemory::Region& region = memory_->regions().back();
  hotplug_ = std::make_unique<HotplugMemory>(vm_, region.start, region.mapping.bytes(), kFirstHotplugSlot);
  virtio::MemOptions options;
  options.start = region.start;
  options.chunk_size = hotplug_chunk(ram_end(boot_memory_));
  options.blocks = hotplug_blocks_;
  auto device = TRY(virtio::MemDevice::create(*loop_, *hotplug_, std::move(options)));
  mem_ = device.get();
  return plug(std::move(device));
}

Result<void> Machine::plug(std::unique_ptr<virtio::VirtioDevice> device) {
  size_t index = virtio_.size();
  if (index >= kMaxVirtioDevices) return fail(fmt::format("more than {} virtio devices", kMaxVirtioDevices));
  VirtioSlot slot;
  slot.device = std::move(device);
  slot.irq = TRY(IrqFd::create(vm_, virtio_irq(index)));
  slot.transport = TRY(virtio::MmioTransport::create(*slot.device, *memory_, *slot.irq));
  uint64_t base = virtio_base(index);
  TRY(mmio_.add(base, virtio::MmioTransport::kWindowSize, *slot.transport));
  GuestAddress notify{base + virtio::MmioTransport::kQueueNotifyOffset};
  for (size_t i = 0; i < slot.transport->queue_count(); i++) {
    TRY(vm_.add_ioeventfd(slot.transport->queue_event(i), notify, static_cast<uint32_t>(i)));
  }
  virtio_.push_back(std::move(slot));
  return {};
}

Result<void> Machine::load_guest(const Config& config, HostFiles& files) {
  KernelImage kernel = TRY(load_kernel(*memory_, files.kernel, config.kernel));
  Initramfs initramfs;
  if (files.initrd) {
    initramfs = TRY(load_initramfs(*memory_, files.initrd, config.initrd, kernel.end, kernel.initrd_limit));
  }
  std::vector<VirtioMmioSlot> slots;
  for (size_t i = 0; i < virtio_.size(); i++) slots.push_back({virtio_base(i), virtio_irq(i)});
  std::string tables = build_acpi_tables(max_cpus_, serial_ != nullptr, slots);
  if (tables.size() > kAcpiTablesSize) return fail("too many devices for the ACPI tables");
  TRY(memory_->write(kAcpiTables, std::as_bytes(std::span(tables))));
  entry_ = kernel.entry;
  // The others are there from the start as far as the guest knows, but it leaves them alone until somebody brings them
  // online.
  std::string cmdline = config.cmdline;
  if (max_cpus_ > config.cpus) cmdline.insert(0, fmt::format("maxcpus={} ", config.cpus));
  return write_boot_data(*memory_, kernel, initramfs, cmdline, kAcpiTables);
}

Result<void> Machine::create_vcpus(const Config& config, HostFiles& files) {
  cpuid_ = TRY(files.kvm.supported_cpuid());
  tsc_deadline_ = TRY(files.kvm.check_extension(KVM_CAP_TSC_DEADLINE_TIMER)) > 0;
  return add_vcpus(config.cpus);
}

Result<void> Machine::add_vcpus(unsigned count) {
  for (auto i = static_cast<unsigned>(vcpus_.size()); i < count; i++) {
    Vcpu vcpu = TRY(vm_.create_vcpu(i));
    TRY(vcpu.set_cpuid(guest_cpuid(cpuid_, tsc_deadline_, i, max_cpus_)));
    TRY(set_initial_msrs(vcpu));
    // The others wait for the guest's start-up interrupt.
    if (i == 0) TRY(set_boot_registers(vcpu, entry_));
    if (running_) TRY(vcpu.announce_apic());
    auto thread = std::make_unique<VcpuThread>(std::move(vcpu), mmio_, ports_, *end_, thread_start_);
    if (running_) TRY(thread->start(i));
    vcpus_.push_back(std::move(thread));
  }
  return {};
}

Result<void> Machine::watch_host(HostFiles& files) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // With a lifeline whoever holds its other end decides. A signal to all processes of a service or of the host is one
  // to that too, and what it does then takes the guest its time.
  if (files.lifeline) {
    lifeline_ = std::move(files.lifeline);
    // Nothing is ever sent on it: whatever happens means that the other end is gone.
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
  if (request.cpus && (*request.cpus < 1 || *request.cpus > max_cpus_)) {
    return fail(fmt::format("cpus: {} asked, the machine can have 1 to {}", *request.cpus, max_cpus_), EINVAL);
  }
  if (request.memory && (*request.memory < boot_memory_ || *request.memory > max_memory_)) {
    return fail(fmt::format("memory: {} bytes asked, the machine can have {} to {}", *request.memory, boot_memory_,
                            max_memory_),
                EINVAL);
  }
  if (request.memory && *request.memory % kHotplugBlock != 0) return fail("memory: not a multiple of 2 MiB", EINVAL);
  if (request.memory && mem_ != nullptr) TRY(mem_->request_size(*request.memory - boot_memory_));
  if (request.cpus) TRY(add_vcpus(*request.cpus));
  return {};
}

MachineSize Machine::size() const {
  MachineSize size{.max_memory = max_memory_, .cpus = static_cast<unsigned>(vcpus_.size()), .max_cpus = max_cpus_};
  size.memory = boot_memory_ + (mem_ == nullptr ? 0 : mem_->requested_size());
  size.present = boot_memory_ + (mem_ == nullptr ? 0 : mem_->plugged_size());
  return size;
}

void Machine::stop_vcpus() {
  control_.reset();  // which could make more
  for (auto& vcpu : vcpus_) vcpu->request_stop();
  // One may be waiting for a device to be activated or reset on this very loop, so keep it turning.
  for (auto& vcpu : vcpus_) {
    while (!vcpu->done() && loop_->run_once(kStopPollMs)) {
    }
  }
  vcpus_.clear();
}

Result<End> Machine::run() {
  // One turn makes this thread the loop's own, before a vCPU can hand it work.
  TRY(loop_->run_once(0));
  install_vcpu_signal();
  for (size_t i = 0; i < vcpus_.size(); i++) TRY(vcpus_[i]->start(static_cast<unsigned>(i)));
  running_ = true;
  TRY(loop_->run());
  stop_vcpus();
  return end_->get().value_or(End{ExitStatus::error, "the event loop stopped by itself"});
}

}  // namespace nacre::vmm
