// One thread that runs one vCPU and hands its exits to the buses.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "devices/bus.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/end.h"

namespace nacre::vmm {

// What each thread does before anything else: it gives up rights that it has no use for.
using ThreadStart = std::function<void()>;

class VcpuThread {
 public:
  // Everything must outlive the thread.
  VcpuThread(Vcpu vcpu, const Bus& mmio, const Bus& ports, EndSignal& end, const ThreadStart& thread_start)
      : vcpu_(std::move(vcpu)), mmio_(mmio), ports_(ports), end_(end), thread_start_(thread_start) {}
  // Waits for the thread: request_stop() before.
  ~VcpuThread() {
    if (thread_.joinable()) thread_.join();
  }

  Vcpu& vcpu() { return vcpu_; }
  Result<void> start(unsigned index);
  // Ends the guest's execution on this vCPU, soon: done() says when. Without start() it is done at once.
  void request_stop();
  bool done() const { return !running_; }

 private:
  void run();
  // False: the guest is at its end.
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

// Installs the empty handler of the signal that request_stop() sends. Once per process, before the first start().
void install_vcpu_signal();

}  // namespace nacre::vmm
