#include "vmm/selftest/selftest.h"

#include <fmt/core.h>
#include <sys/time.h>

#include <csignal>

#include "devices/guest_memory.h"
#include "vmm/arch/x86_64/boot.h"
#include "vmm/arch/x86_64/cpu.h"
#include "vmm/selftest/guest_code.h"

namespace nacre::vmm {

namespace {

constexpr size_t kMemorySize = 2 << 20;
constexpr GuestAddress kCode{0x10000};
constexpr suseconds_t kTimeLimitMicroseconds = 900'000;

constexpr const char* kVerdict = "this host's KVM cannot run Linux guests: ";

// Lets SIGALRM interrupt KVM_RUN after the time limit.
void arm_timer(suseconds_t microseconds) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  itimerval timer{};
  timer.it_value.tv_usec = microseconds;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

std::string stopped_at(uint8_t step, const std::string& how) {
  const char* name = step < kCheckSteps.size() ? kCheckSteps[step] : "an unknown step";
  return fmt::format("{}{} in kernel mode {}", kVerdict, name, how);
}

// Runs the guest to its end; an error names the step it stopped at.
Result<void> run(Vcpu& vcpu) {
  uint8_t step = 0;
  for (;;) {
    if (!TRY(vcpu.run())) return fail(stopped_at(step, "takes too long"));
    const kvm_run& exit = vcpu.exit();
    switch (exit.exit_reason) {
      case KVM_EXIT_IO:
        if (exit.io.direction != KVM_EXIT_IO_OUT || exit.io.port != kCheckPort) break;
        step = static_cast<uint8_t>(vcpu.io_data()[0]);
        if (step == kCheckDone) return {};
        continue;
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
  TRY(x86_64::write_long_mode_tables(memory));
  TRY(memory.write(kCode, check_guest_code()));
  Vm vm = TRY(kvm.create_vm());
  TRY(vm.add_memory(0, GuestAddress{0}, memory.regions()[0].mapping.bytes()));
  Vcpu vcpu = TRY(vm.create_vcpu(0));
  TRY(vcpu.set_cpuid(x86_64::guest_cpuid(TRY(kvm.supported_cpuid()), false, 0, 1)));
  TRY(x86_64::set_boot_registers(vcpu, kCode));
  arm_timer(kTimeLimitMicroseconds);
  Result<void> result = run(vcpu);
  arm_timer(0);
  return result;
}

}  // namespace nacre::vmm
