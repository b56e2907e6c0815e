// SPDX-License-Identifier: Apache-2.0
// Talks to a container's vmm through its control socket (vmm/api/control.h).
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "vmm/api/control.h"

namespace nacre::runtime {

class MachineControl {
 public:
  // Connects to vmm. `directory` is the container's. Fails with kNotRunning if vmm has ended.
  static Result<MachineControl> connect(int directory);

  // Sends a request, with `descriptor` (-1: none), and returns the machine's size. An empty Resize changes nothing.
  // Errors have vmm's words.
  Result<vmm::MachineSize> ask(const vmm::ControlRequest& request, int descriptor = -1);

 private:
  explicit MachineControl(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
};

}  // namespace nacre::runtime
