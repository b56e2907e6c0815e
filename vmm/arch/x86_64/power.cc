// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/power.h"

#include <algorithm>

namespace nacre::vmm::x86_64 {

namespace {

constexpr uint8_t kSleepEnable = 1 << 5;  // SLP_EN; SLP_TYP is in bits 2 to 4
constexpr uint8_t kSleepTypeShift = 2;
constexpr uint64_t kCommandOffset = 4;  // port 0x64
constexpr uint8_t kPulseReset = 0xfe;

}  // namespace

void PowerDevice::read(uint64_t, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
}

void PowerDevice::write(uint64_t offset, std::span<const std::byte> data) {
  auto value = static_cast<uint8_t>(data[0]);
  if (offset == kSleepControlOffset && value == (kSleepTypeS5 << kSleepTypeShift | kSleepEnable)) power_off_();
  if (offset == kResetOffset && value == kResetValue) reset_();
}

void KeyboardReset::read(uint64_t, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
}

void KeyboardReset::write(uint64_t offset, std::span<const std::byte> data) {
  if (offset == kCommandOffset && data[0] == std::byte{kPulseReset}) reset_();
}

}  // namespace nacre::vmm::x86_64
