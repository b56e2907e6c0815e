// The machine: a list of its parts, in the order in which they are built.
#pragma once

#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/guest_memory.h"
#include "devices/virtio/mmio.h"
#include "vmm/api/config.h"
#include "vmm/arch/x86_64/power.h"
#include "vmm/boot/image.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/console.h"
#include "vmm/machine/end.h"
#include "vmm/machine/host_files.h"
#include "vmm/machine/vcpu_thread.h"

namespace nacre::vmm {

class Machine {
 public:
  // Builds everything up to the first instruction. Takes what it needs out of `files`.
  static Result<std::unique_ptr<Machine>> create(const Config& config, HostFiles& files);
  ~Machine();

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
  Result<void> create_memory(uint64_t size);
  Result<void> create_console(bool enabled);
  Result<void> create_power();
  Result<void> create_fs(const Config& config, HostFiles& files);
  Result<void> create_vsock(const Config& config, HostFiles& files);
  Result<void> load_guest(const Config& config, HostFiles& files);
  Result<void> create_vcpus(const Config& config, HostFiles& files);
  Result<void> watch_host(HostFiles& files);

  // Ends the guest's execution for good. On the thread that runs the loop.
  void stop_vcpus();
  Result<void> plug(std::unique_ptr<virtio::VirtioDevice> device);

  Vm vm_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<EndSignal> end_;
  std::unique_ptr<IrqFd> serial_irq_;
  std::unique_ptr<SerialFdSink> serial_sink_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<x86_64::PowerDevice> power_;
  std::unique_ptr<x86_64::KeyboardReset> keyboard_;
  std::vector<VirtioSlot> virtio_;
  Bus mmio_;
  Bus ports_;
  Fd signals_;
  Fd lifeline_;
  GuestAddress entry_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace nacre::vmm
