// SPDX-License-Identifier: Apache-2.0
// A device's interrupt line.
#pragma once

namespace nacre {

// Edge-triggered: each call of trigger() is one interrupt. Any thread.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void trigger() = 0;
};

}  // namespace nacre
