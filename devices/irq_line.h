// A device's interrupt line.
#pragma once

namespace nacre {

// Edge-triggered: each trigger() is one interrupt. Called from any thread.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void trigger() = 0;
};

}  // namespace nacre
