// SPDX-License-Identifier: Apache-2.0
#include "vmm/selftest/selftest.h"

#include <fmt/core.h>
#include <sys/time.h>

#include <csignal>

#include "devices/guest_memory.h"
#include "vmm/arch/arch.h"

namespace nacre::vmm {

namespace {

constexpr size_t kMemorySize = 2 << 20;
constexpr suseconds_t kTimeLimitMicroseconds = 900'000;

constexpr const char* kVerdict = "this host's KVM cannot run Linux guests: ";

// Makes SIGALRM interrupt KVM_RUN after so long; 0 stops the timer.
void arm_timer(suseconds_t microseconds) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  itimerval timer{};
  timer.it_value.tv_usec = microseconds;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

std::string stopped_at(uint8_t step, const std::string& how) {
  std::span<const char* const> steps = arch::selftest_steps();
  const char* name = step < steps.size() ? steps[step] : "an unknown step";
  return fmt::format("{}{} in kernel mode {}", kVerdict, name, how);
}

// Runs the guest to its end. An error names the step at which it stopped.
Result<void> run(Vcpu& vcpu) {
  uint8_t step = 0;
  for (;;) {
    if (!TRY(vcpu.run())) return fail(stopped_at(step, "takes too long"));
    if (std::optional<uint8_t> next = arch::selftest_step(vcpu)) {
      step = *next;
      if (step == arch::kSelftestDone) return {};
      continue;
    }
    const kvm_run& exit = vcpu.exit();
    switch (exit.exit_reason) {
      case KVM_EXIT_INTERNAL_ERROR:
        return fail(stopped_at(step, fmt::format("is not executed (internal error {})", exit.internal.suberror + 0)));
      case KVM_EXIT_SHUTDOWN:
        return fail(stopped_at(step, "ends in a triple fault"));
      default:
        break;
    }
    return fail(stopped_at(step, fmt::format("ends in exit {}", exit.exit_reason + 0)));
  }
}

}  // namespace

Result<void> check_kvm(Kvm& kvm) {
  GuestMemory memory = TRY(GuestMemory::anonymous(GuestAddress{0}, kMemorySize));
  Vm vm = TRY(kvm.create_vm());
  TRY(vm.add_memory(0, GuestAddress{0}, memory.regions()[0].mapping.bytes()));
  Vcpu vcpu = TRY(vm.create_vcpu(0));
  TRY(arch::load_selftest(kvm, memory, vcpu));
  arm_timer(kTimeLimitMicroseconds);
  Result<void> result = run(vcpu);
  arm_timer(0);
  return result;
}

}  // namespace nacre::vmm
