// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/vcpu_thread.h"

#include <fmt/core.h>
#include <pthread.h>

#include <csignal>
#include <cstdio>
#include <system_error>

namespace nacre::vmm {

namespace {

int vcpu_signal() {
  return SIGRTMIN;
}

}  // namespace

void install_vcpu_signal() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(vcpu_signal(), &action, nullptr);
}

Result<void> VcpuThread::start(unsigned index) {
  running_ = true;
  try {
    thread_ = std::thread([this, index] {
      ::pthread_setname_np(::pthread_self(), fmt::format("vcpu{}", index).c_str());
      Result<void> begun = thread_start_ ? thread_start_() : Result<void>();
      if (begun) {
        run();
      } else {
        end_.end(ExitStatus::error, begun.error().message());
      }
      running_ = false;
    });
  } catch (const std::system_error& error) {
    running_ = false;
    return fail_errno("thread for a CPU of the guest", error.code().value());
  }
  return {};
}

void VcpuThread::request_stop() {
  if (!thread_.joinable()) return;
  vcpu_.request_exit();
  ::pthread_kill(thread_.native_handle(), vcpu_signal());
}

void VcpuThread::run() {
  for (;;) {
    Result<bool> entered = vcpu_.run();
    if (!entered) {
      end_.end(ExitStatus::kvm_failure, entered.error().message());
      return;
    }
    if (!*entered) {
      if (__atomic_load_n(&vcpu_.exit().immediate_exit, __ATOMIC_SEQ_CST)) return;
      continue;
    }
    if (!handle_exit()) return;
  }
}

bool VcpuThread::handle_exit() {
  kvm_run& exit = vcpu_.exit();
  switch (exit.exit_reason) {
    case KVM_EXIT_IO:
      handle_port_io();
      return true;
    case KVM_EXIT_MMIO:
      handle_mmio();
      return true;
    case KVM_EXIT_SHUTDOWN:
      end_.end(ExitStatus::triple_fault, "the guest's CPU shut down (triple fault)");
      return false;
    case KVM_EXIT_SYSTEM_EVENT:
      if (exit.system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) {
        end_.end(ExitStatus::power_off);
      } else {
        end_.end(ExitStatus::reset);
      }
      return false;
    case KVM_EXIT_FAIL_ENTRY:
      end_.end(ExitStatus::kvm_failure, fmt::format("KVM could not enter the guest (hardware reason {:#x})",
                                                    uint64_t{exit.fail_entry.hardware_entry_failure_reason}));
      return false;
    case KVM_EXIT_INTERNAL_ERROR:
      end_.end(ExitStatus::kvm_failure,
               fmt::format("KVM could not run the guest on (internal error {})", uint32_t{exit.internal.suberror}));
      return false;
    default:
      end_.end(ExitStatus::kvm_failure, fmt::format("KVM exit {} is not known", uint32_t{exit.exit_reason}));
      return false;
  }
}

void VcpuThread::handle_port_io() {
  const auto& io = vcpu_.exit().io;
  std::span<std::byte> data = vcpu_.io_data();
  for (size_t i = 0; i < io.count; i++) {
    std::span<std::byte> item = data.subspan(i * io.size, io.size);
    if (io.direction == KVM_EXIT_IO_OUT) {
      ports_.write(io.port, item);
    } else {
      ports_.read(io.port, item);
    }
  }
}

void VcpuThread::handle_mmio() {
  auto& mmio = vcpu_.exit().mmio;
  std::span<std::byte> data = std::as_writable_bytes(std::span(mmio.data)).first(std::min<size_t>(mmio.len, 8));
  if (mmio.is_write) {
    mmio_.write(mmio.phys_addr, data);
  } else {
    mmio_.read(mmio.phys_addr, data);
  }
}

}  // namespace nacre::vmm
