// The vmm process of a container, as its stand-in sees it.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "runtime/state/store.h"
#include "runtime/vm/control.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// A VM that containers share ends with the last of their stand-ins.
class Vm {
 public:
  // Writes the configuration to the container's directory and starts vmm there. `config` is completed with the
  // descriptors: the control connection, the listening socket and the lifeline. `dir` outlives this.
  static Result<Vm> start(const std::string& program, vmm::Config config, const ContainerDir& dir);
  // That of another container, whose files become `dir`'s too. It serves what `share` has from then on.
  static Result<Vm> join(const ContainerDir& other, const vmm::Fs& share, const ContainerDir& dir);
  ~Vm();
  Vm(Vm&&) = default;
  Vm& operator=(Vm&&) = delete;

  const ProcessId& process() const { return process_; }
  int pidfd() const { return pidfd_.get(); }
  // The connection to guest-init that creates the container: of a VM that we have started the primary one, which vmm
  // joins to this descriptor. Once.
  Fd take_control() { return std::move(control_); }

  // Ends the VM at once, or leaves it where others have it too.
  void kill();
  // Waits for vmm's end, which must be near, and says in a line why it ended.
  std::string explain_end();

 private:
  explicit Vm(const ContainerDir& dir) : dir_(&dir) {}
  Result<ProcessExit> wait_for_exit();

  const ContainerDir* dir_;
  ProcessId process_;
  Fd pidfd_;
  bool is_child_ = false;
  Fd control_;
  Fd lifeline_;                         // vmm that we have started ends when this closes,
  std::optional<MachineControl> hold_;  // and one that we have joined holds out until this does
  bool ended_ = false;
};

}  // namespace nacre::runtime
