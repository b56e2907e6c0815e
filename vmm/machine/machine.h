// SPDX-License-Identifier: Apache-2.0
// The machine: memory, CPUs, a board of devices, and what connects them to the host, in the order in which they are
// built.
#pragma once

#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/loop_thread.h"
#include "base/result.h"
#include "devices/virtio/mem/device.h"
#include "vmm/api/config.h"
#include "vmm/api/control.h"
#include "vmm/control/server.h"
#include "vmm/host/host_files.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/cpu_set.h"
#include "vmm/machine/device_board.h"
#include "vmm/machine/end.h"
#include "vmm/machine/memory.h"
#include "vmm/machine/sharers.h"

namespace nacre::vmm {

// The last act of each thread before it serves the guest, by what the thread does.
struct ThreadStarts {
  ThreadStart main;  // of the thread that calls Machine::run()
  ThreadStart vcpu;
  ThreadStart file_server;
  ThreadStart net;
};

class Machine : private ControlHandler {
 public:
  // Builds everything up to the first instruction. Takes what it needs out of `files`.
  static Result<std::unique_ptr<Machine>> create(const Config& config, HostFiles& files, ThreadStarts thread_starts);
  ~Machine() override;

  // Runs the guest on threads of its own and the devices on the caller's, until the guest ends or somebody ends it.
  Result<End> run();

 private:
  Machine(Vm vm, ThreadStart main_start) : main_start_(std::move(main_start)), vm_(std::move(vm)) {}

  // The steps of create(), in order.
  Result<void> create_memory(const Config& config, HostFiles& files);
  Result<void> create_board(const Config& config);
  Result<void> create_fs(const Config& config, HostFiles& files, const ThreadStart& thread_start);
  Result<void> create_nets(HostFiles& files, const ThreadStart& thread_start);
  Result<void> create_vsock(const Config& config, HostFiles& files);
  Result<void> create_hotplug_memory();
  Result<GuestAddress> load_guest(const Config& config, HostFiles& files);
  Result<void> create_cpus(const Config& config, HostFiles& files, GuestAddress entry, ThreadStart thread_start);
  Result<void> watch_host(HostFiles& files);
  Result<void> create_control(HostFiles& files);

  // Answers a caller of the control socket, on the thread that runs the loop.
  Result<MachineSize> handle(CallerId caller, const ControlRequest& request, Fd descriptor) override;
  void caller_is_gone(CallerId caller) override;
  // Makes the machine larger or smaller while the guest runs.
  Result<void> resize(const Resize& request);
  MachineSize size() const;
  void lifeline_ended();
  // Ends the guest's execution for good. On the thread that runs the loop.
  void stop_cpus();

  const ThreadStart main_start_;
  Vm vm_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<EndSignal> end_;
  std::unique_ptr<MachineMemory> memory_;
  std::vector<std::unique_ptr<LoopThread>> net_threads_;  // must outlive the devices on the board
  std::unique_ptr<DeviceBoard> board_;
  virtio::MemDevice* mem_ = nullptr;  // on the board; null: the memory does not grow
  Sharers sharers_;
  std::unique_ptr<CpuSet> cpus_;
  Fd signals_;
  Fd lifeline_;
  bool lifeline_ended_ = false;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace nacre::vmm
