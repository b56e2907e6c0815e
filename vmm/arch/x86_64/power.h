// SPDX-License-Identifier: Apache-2.0
// The devices by which a guest ends itself: ACPI's sleep control and reset registers, and the reset line of a PC's
// keyboard controller.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "devices/bus.h"

namespace nacre::vmm::x86_64 {

// The ACPI registers, by offset from kPowerPort (ACPI 6.5, 4.8.3.7).
inline constexpr uint16_t kSleepControlOffset = 0;
inline constexpr uint16_t kSleepStatusOffset = 1;
inline constexpr uint16_t kResetOffset = 2;
inline constexpr uint8_t kSleepTypeS5 = 5;
inline constexpr uint8_t kResetValue = 1;

class PowerDevice final : public BusDevice {
 public:
  // The functions are called on a vCPU's thread.
  PowerDevice(std::function<void()> power_off, std::function<void()> reset)
      : power_off_(std::move(power_off)), reset_(std::move(reset)) {}

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

 private:
  std::function<void()> power_off_;
  std::function<void()> reset_;
};

// Ports 0x60 to 0x64. There is no keyboard: only the command that pulses the reset line does anything.
class KeyboardReset final : public BusDevice {
 public:
  explicit KeyboardReset(std::function<void()> reset) : reset_(std::move(reset)) {}

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

 private:
  std::function<void()> reset_;
};

}  // namespace nacre::vmm::x86_64
