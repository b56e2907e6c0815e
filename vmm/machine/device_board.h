// SPDX-License-Identifier: Apache-2.0
// The board: which devices the guest finds at which addresses and interrupt lines, and what the tables say about them.
#pragma once

#include <memory>
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
#include "vmm/machine/end.h"

namespace nacre::vmm {

class DeviceBoard {
 public:
  // Everything must outlive the board.
  DeviceBoard(Vm& vm, const GuestMemory& memory, EventLoop& loop, EndSignal& end)
      : vm_(vm), memory_(memory), loop_(loop), end_(end) {}

  // Puts the serial console on vmm's stdin and stdout.
  Result<void> add_console();
  // Adds what the guest powers itself off and resets itself with.
  Result<void> add_power();
  // Puts the device into the next slot.
  Result<void> plug(std::unique_ptr<virtio::VirtioDevice> device);

  const arch::Buses& buses() const { return buses_; }
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
  std::unique_ptr<arch::Power> power_;
  std::vector<Plugged> virtio_;
  arch::Buses buses_;
};

}  // namespace nacre::vmm
