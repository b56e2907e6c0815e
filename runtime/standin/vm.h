// The vmm process of a container, as its stand-in sees it.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "runtime/state/store.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

class Vm {
 public:
  // Writes the configuration to the container's directory and starts vmm there. `config` is completed with the
  // descriptors: the control connection, the listening socket and the lifeline.
  static Result<Vm> start(const std::string& program, vmm::Config config, const ContainerDir& dir);
  ~Vm();
  Vm(Vm&&) = default;
  Vm& operator=(Vm&&) = delete;

  pid_t pid() const { return child_.pid; }
  int pidfd() const { return child_.pidfd.get(); }
  // The stream that vmm joins to the guest's primary connection. Once.
  Fd take_control() { return std::move(control_); }

  // Ends the VM at once.
  void kill();
  // Waits for vmm's end, which must be near, and says in a line why it ended.
  std::string explain_end(const ContainerDir& dir);

 private:
  Vm(Child child, Fd control, Fd lifeline)
      : child_(std::move(child)), control_(std::move(control)), lifeline_(std::move(lifeline)) {}

  Child child_;
  Fd control_;
  Fd lifeline_;  // vmm ends when this closes
  bool reaped_ = false;
};

}  // namespace nacre::runtime
