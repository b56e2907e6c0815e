// SPDX-License-Identifier: Apache-2.0
// A thread that runs one vCPU and hands its exits to the buses.
#pragma once

#include <atomic>
#include <thread>

#include "base/loop_thread.h"
#include "devices/bus.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/end.h"

namespace nacre::vmm {

class VcpuThread {
 public:
  // All that is passed by reference must outlive the thread.
  VcpuThread(Vcpu vcpu, const Bus& mmio, const Bus& ports, EndSignal& end, const ThreadStart& thread_start)
      : vcpu_(std::move(vcpu)), mmio_(mmio), ports_(ports), end_(end), thread_start_(thread_start) {}
  // Waits for the thread. Call request_stop() first.
  ~VcpuThread() {
    if (thread_.joinable()) thread_.join();
  }

  Vcpu& vcpu() { return vcpu_; }
  Result<void> start(unsigned index);
  // Makes the guest's execution on this vCPU end soon; done() says when. Without start() the vCPU is done at once.
  void request_stop();
  bool done() const { return !running_; }

 private:
  void run();
  // Returns false at the end of the guest.
  bool handle_exit();
  void handle_port_io();
  void handle_mmio();

  Vcpu vcpu_;
  const Bus& mmio_;
  const Bus& ports_;
  EndSignal& end_;
  const ThreadStart& thread_start_;
  std::atomic<bool> running_{false};
  std::thread thread_;
};

// Installs an empty handler for the signal that request_stop() sends. Call it once, before the first start().
void install_vcpu_signal();

}  // namespace nacre::vmm
