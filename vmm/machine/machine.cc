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
#include "vmm/check/check.h"

namespace nacre::vmm {

namespace {

using namespace x86_64;

constexpr size_t kHugePage = 2 << 20;
constexpr int kStopPollMs = 10;

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

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, HostFiles& files) {
  std::unique_ptr<Machine> machine(new Machine(TRY(files.kvm.create_vm())));
  machine->loop_ = TRY(EventLoop::create());
  machine->end_ = std::make_unique<EndSignal>(*machine->loop_);
  TRY(machine->create_memory(config.memory));
  TRY(machine->vm_.set_identity_map_address(kIdentityMap));
  TRY(machine->vm_.set_tss_address(kTss));
  TRY(machine->vm_.create_irqchip());
  TRY(machine->create_console(config.console));
  TRY(machine->create_power());
  TRY(machine->create_fs(config, files));
  TRY(machine->create_vsock(config, files));
  TRY(machine->load_guest(config, files));
  TRY(machine->create_vcpus(config, files));
  TRY(machine->watch_host(files));
  return machine;
}

Machine::~Machine() {
  stop_vcpus();
}

Result<void> Machine::create_memory(uint64_t size) {
  TRY(check_host_memory(size));
  uint64_t low = std::min(size, kMmioHoleStart);
  std::vector<GuestMemory::Region> regions;
  regions.push_back({GuestAddress{0}, TRY_CONTEXT(Mapping::anonymous(low, kHugePage), "no memory for the guest")});
  if (size > low) {
    Mapping high = TRY_CONTEXT(Mapping::anonymous(size - low, kHugePage), "no memory for the guest");
    regions.push_back({GuestAddress{kMmioHoleEnd}, std::move(high)});
  }
  memory_ = std::make_unique<GuestMemory>(std::move(regions));
  uint32_t slot = 0;
  for (const auto& region : memory_->regions()) {
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
    TRY(plug(TRY_CONTEXT(virtio::FsDevice::create(std::move(options)), "fs " + config.fs[i].tag)));
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
  std::string tables = build_acpi_tables(config.cpus, serial_ != nullptr, slots);
  if (tables.size() > kAcpiTablesSize) return fail("too many devices for the ACPI tables");
  TRY(memory_->write(kAcpiTables, std::as_bytes(std::span(tables))));
  entry_ = kernel.entry;
  return write_boot_data(*memory_, kernel, initramfs, config.cmdline, kAcpiTables);
}

Result<void> Machine::create_vcpus(const Config& config, HostFiles& files) {
  std::vector<kvm_cpuid_entry2> supported = TRY(files.kvm.supported_cpuid());
  bool tsc_deadline = TRY(files.kvm.check_extension(KVM_CAP_TSC_DEADLINE_TIMER)) > 0;
  for (unsigned i = 0; i < config.cpus; i++) {
    Vcpu vcpu = TRY(vm_.create_vcpu(i));
    TRY(vcpu.set_cpuid(guest_cpuid(supported, tsc_deadline, i, config.cpus)));
    TRY(set_initial_msrs(vcpu));
    // The others wait for the guest's start-up interrupt.
    if (i == 0) TRY(set_boot_registers(vcpu, entry_));
    vcpus_.push_back(std::make_unique<VcpuThread>(std::move(vcpu), mmio_, ports_, *end_));
  }
  return {};
}

Result<void> Machine::watch_host(HostFiles& files) {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return fail_errno("signalfd");
  TRY(loop_->add(signals_.get(), EPOLLIN, [this](uint32_t) { end_->end(ExitStatus::killed); }));
  if (files.lifeline) {
    lifeline_ = std::move(files.lifeline);
    // Nothing is ever sent on it: whatever happens means that the other end is gone.
    TRY(loop_->add(lifeline_.get(), EPOLLIN | EPOLLHUP, [this](uint32_t) { end_->end(ExitStatus::killed); }));
  }
  return {};
}

void Machine::stop_vcpus() {
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
  for (size_t i = 0; i < vcpus_.size(); i++) vcpus_[i]->start(static_cast<unsigned>(i));
  TRY(loop_->run());
  stop_vcpus();
  return end_->get().value_or(End{ExitStatus::error, "the event loop stopped by itself"});
}

}  // namespace nacre::vmm
