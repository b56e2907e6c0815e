// A container's vmm, asked through its control socket (vmm/api/control.h).
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/control.h"

namespace nacre::runtime {

class MachineControl {
 public:
  // `directory` is the container's. Where there is no vmm any more the error is kNotRunning.
  static Result<MachineControl> connect(int directory);

  // An empty Resize changes nothing. Errors are vmm's own words. `descriptor` (-1: none) goes with the packet.
  Result<vmm::MachineSize> ask(const vmm::ControlRequest& request, int descriptor = -1);

 private:
  explicit MachineControl(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
};

}  // namespace nacre::runtime
