// SPDX-License-Identifier: Apache-2.0
// The machine's CPUs: made, started and stopped together, and more of them while the guest runs.
#pragma once

#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/end.h"
#include "vmm/machine/vcpu_thread.h"

namespace nacre::vmm {

// On the loop's thread, or before it runs.
class CpuSet {
 public:
  struct Limits {
    unsigned boot;  // CPUs at the start
    unsigned max;   // at least as many
  };

  // Makes the first CPUs. The first one begins at `entry`. Each CPU's thread calls `thread_start` before anything else.
  // `vm`, `buses` and `end` must outlive this.
  static Result<std::unique_ptr<CpuSet>> create(const Kvm& kvm, Vm& vm, const Limits& limits, GuestAddress entry,
                                                ThreadStart thread_start, const arch::Buses& buses, EndSignal& end);

  unsigned count() const { return static_cast<unsigned>(threads_.size()); }
  unsigned max() const { return max_; }

  // Makes the CPUs up to `count` that are not there yet, and starts them if the others run. The guest brings them
  // online.
  Result<void> add_up_to(unsigned count);
  Result<void> start();
  // Ends the guest's execution for good.
  void stop(EventLoop& loop);

 private:
  CpuSet(Vm& vm, std::unique_ptr<arch::Cpus> cpus, unsigned max, ThreadStart thread_start, const arch::Buses& buses,
         EndSignal& end)
      : vm_(vm), cpus_(std::move(cpus)), max_(max), thread_start_(std::move(thread_start)), buses_(buses), end_(end) {}
  Result<std::unique_ptr<VcpuThread>> make(unsigned index);

  Vm& vm_;
  const std::unique_ptr<arch::Cpus> cpus_;
  const unsigned max_;
  const ThreadStart thread_start_;
  const arch::Buses& buses_;
  EndSignal& end_;
  std::vector<std::unique_ptr<VcpuThread>> threads_;
  bool running_ = false;
};

}  // namespace nacre::vmm
