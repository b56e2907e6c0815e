// SPDX-License-Identifier: Apache-2.0
// Keeps the last words of a guest's kernel. If the machine has no console, vmm's error message quotes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/mutex.h"
#include "devices/bus.h"

namespace nacre::vmm {

// The transmitter of a 16550A UART and nothing else of it, in the console's place. No table tells the guest of it, so
// no driver looks for it. Linux writes there with "earlycon=uart8250,io,0x3f8", which needs neither set-up nor
// interrupts. The default command line (vmm/api/command_line.h) lets only emergencies through, so that a boot costs no
// exits.
class CrashLog final : public BusDevice {
 public:
  static constexpr size_t kLimit = 16 << 10;  // a guest may print forever: only so many of the last bytes are kept

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  // Returns those lines that say what the kernel died of, without their time stamps, in one line of at most
  // kMaxSummary bytes. Empty if the kernel said nothing. The text is the guest's own and may be forged.
  static constexpr size_t kMaxSummary = 800;
  std::string summary() const;

 private:
  mutable Mutex mutex_;
  std::string text_ GUARDED_BY(mutex_);
};

}  // namespace nacre::vmm
