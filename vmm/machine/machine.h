// The machine: a list of its parts, in the order in which they are built.
#pragma once

#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/guest_memory.h"
#include "devices/legacy/serial.h"
#include "devices/legacy/serial_fd_sink.h"
#include "devices/virtio/mem/device.h"
#include "devices/virtio/mmio.h"
#include "vmm/api/config.h"
#include "vmm/arch/x86_64/power.h"
#include "vmm/control/server.h"
#include "vmm/host/host_files.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/console.h"
#include "vmm/machine/end.h"
#include "vmm/machine/hotplug_memory.h"
#include "vmm/machine/sharers.h"
#include "vmm/machine/vcpu_thread.h"

namespace nacre::vmm {

class Machine : private ControlHandler {
 public:
  // Builds everything up to the first instruction. Takes what it needs out of `files`. Each vCPU's thread calls
  // `thread_start` before anything else.
  static Result<std::unique_ptr<Machine>> create(const Config& config, HostFiles& files, ThreadStart thread_start);
  ~Machine() override;

  // Runs the guest on threads of its own and the devices on the caller's, until the guest ends or somebody ends it.
  Result<End> run();

 private:
  struct VirtioSlot {
    std::unique_ptr<virtio::VirtioDevice> device;
    std::unique_ptr<IrqFd> irq;
    std::unique_ptr<virtio::MmioTransport> transport;
  };

  explicit Machine(Vm vm) : vm_(std::move(vm)) {}

  // The steps of create(), in order.
  Result<void> create_memory(const Config& config);
  Result<void> create_console(bool enabled);
  Result<void> create_power();
  Result<void> create_fs(const Config& config, HostFiles& files);
  Result<void> create_vsock(const Config& config, HostFiles& files);
  Result<GuestMemory::Region> reserve_hotplug(uint64_t size);
  Result<void> create_hotplug_memory();
  Result<void> load_guest(const Config& config, HostFiles& files);
  Result<void> create_vcpus(const Config& config, HostFiles& files);
  Result<void> watch_host(HostFiles& files);
  Result<void> create_control(HostFiles& files);

  // What callers of the control socket ask, on the thread that runs the loop.
  Result<MachineSize> handle(CallerId caller, const ControlRequest& request, Fd descriptor) override;
  void caller_is_gone(CallerId caller) override;
  // Grows and shrinks while the guest runs.
  Result<void> resize(const Resize& request);
  MachineSize size() const;
  void lifeline_ended();
  // Makes those up to `count` that are not there yet.
  Result<void> add_vcpus(unsigned count);

  // Ends the guest's execution for good. On the thread that runs the loop.
  void stop_vcpus();
  Result<void> plug(std::unique_ptr<virtio::VirtioDevice> device);

  ThreadStart thread_start_;
  Vm vm_;
  std::unique_ptr<GuestMemory> memory_;
  uint64_t boot_memory_ = 0, max_memory_ = 0;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<EndSignal> end_;
  std::unique_ptr<IrqFd> serial_irq_;
  std::unique_ptr<SerialFdSink> serial_sink_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<x86_64::PowerDevice> power_;
  std::unique_ptr<x86_64::KeyboardReset> keyboard_;
  std::shared_ptr<PluggedBlocks> hotplug_blocks_;
  std::unique_ptr<HotplugMemory> hotplug_;
  virtio::MemDevice* mem_ = nullptr;  // in virtio_; null: the memory does not grow
  std::vector<VirtioSlot> virtio_;
  Bus mmio_;
  Bus ports_;
  Fd signals_;
  Fd lifeline_;
  bool lifeline_ended_ = false;
  Sharers sharers_;
  GuestAddress entry_;
  std::vector<kvm_cpuid_entry2> cpuid_;  // what the host's KVM can do
  bool tsc_deadline_ = false;
  unsigned max_cpus_ = 0;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  bool running_ = false;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace nacre::vmm
