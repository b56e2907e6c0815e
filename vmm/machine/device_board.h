// SPDX-License-Identifier: Apache-2.0
// The board: which devices the guest finds at which addresses and interrupt lines, and what the tables say about them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "devices/guest_memory.h"
#include "devices/legacy/serial.h"
#include "devices/legacy/serial_fd_sink.h"
#include "devices/virtio/mmio.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/console.h"
#include "vmm/machine/crash_log.h"
#include "vmm/machine/end.h"

namespace nacre::vmm {

class DeviceBoard {
 public:
  // Everything must outlive the board.
  DeviceBoard(Vm& vm, const GuestMemory& memory, EventLoop& loop, EndSignal& end)
      : vm_(vm), memory_(memory), loop_(loop), end_(end) {}

  // Puts the serial console on vmm's stdin and stdout.
  Result<void> add_console();
  // Keeps what the guest's kernel prints as it dies, if there is no console.
  Result<void> add_crash_log();
  // Adds what the guest powers itself off and resets itself with.
  Result<void> add_power();
  // Puts the device into the next slot.
  Result<void> plug(std::unique_ptr<virtio::VirtioDevice> device);

  const arch::Buses& buses() const { return buses_; }
  // Returns what the guest's kernel said of its own death, in one line; empty if it said nothing or has a console.
  std::string crash_summary() const { return crash_log_ ? crash_log_->summary() : ""; }
  // Returns what the tables of a guest with so many CPUs say about the board.
  arch::BoardView view(unsigned cpus) const;

 private:
  struct Plugged {
    std::unique_ptr<virtio::VirtioDevice> device;
    std::unique_ptr<IrqFd> irq;
    std::unique_ptr<virtio::MmioTransport> transport;
  };

  Vm& vm_;
  const GuestMemory& memory_;
  EventLoop& loop_;
  EndSignal& end_;
  std::unique_ptr<IrqFd> serial_irq_;
  std::unique_ptr<SerialFdSink> serial_sink_;
  std::unique_ptr<Serial> serial_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<CrashLog> crash_log_;
  std::unique_ptr<arch::Power> power_;
  std::vector<Plugged> virtio_;
  arch::Buses buses_;
};

}  // namespace nacre::vmm
