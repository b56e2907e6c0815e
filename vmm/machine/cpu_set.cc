// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/cpu_set.h"

namespace nacre::vmm {

namespace {

constexpr int kStopPollMs = 10;

}  // namespace

Result<std::unique_ptr<CpuSet>> CpuSet::create(const Kvm& kvm, Vm& vm, const Limits& limits, GuestAddress entry,
                                               ThreadStart thread_start, const arch::Buses& buses, EndSignal& end) {
  auto cpus = TRY(arch::create_cpus(kvm));
  std::unique_ptr<CpuSet> set(new CpuSet(vm, std::move(cpus), limits.max, std::move(thread_start), buses, end));
  TRY(set->add_up_to(limits.boot));
  TRY(set->cpus_->enter_at(set->threads_.front()->vcpu(), entry));
  return set;
}

Result<std::unique_ptr<VcpuThread>> CpuSet::make(unsigned index) {
  Vcpu vcpu = TRY(vm_.create_vcpu(index));
  TRY(cpus_->set_up(vcpu, index, max_));
  if (running_) TRY(cpus_->announce(vcpu));
  return std::make_unique<VcpuThread>(std::move(vcpu), buses_.mmio, buses_.ports, end_, thread_start_);
}

Result<void> CpuSet::add_up_to(unsigned count) {
  for (unsigned i = this->count(); i < count; i++) {
    auto thread = TRY(make(i));
    if (running_) TRY(thread->start(i));
    threads_.push_back(std::move(thread));
  }
  return {};
}

Result<void> CpuSet::start() {
  install_vcpu_signal();
  for (unsigned i = 0; i < count(); i++) TRY(threads_[i]->start(i));
  running_ = true;
  return {};
}

void CpuSet::stop(EventLoop& loop) {
  for (auto& thread : threads_) thread->request_stop();
  // A CPU may be waiting for a device to be activated or reset on this very loop, so keep it turning.
  for (auto& thread : threads_) {
    while (!thread->done() && loop.run_once(kStopPollMs)) {
    }
  }
  threads_.clear();
}

}  // namespace nacre::vmm
