// SPDX-License-Identifier: Apache-2.0
// The vmm process of a container, as its stand-in sees it.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "runtime/state/store.h"
#include "runtime/vm/control.h"
#include "runtime/vm/log.h"
#include "runtime/vm/sources.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// A VM that containers share ends with the last of their stand-ins.
class Vm {
 public:
  // Writes the configuration to the container's directory and starts vmm there. `config` is completed with the
  // descriptors: the control connection, the listening sockets, the lifeline, copies of the sources of the share, and
  // `taps`, one for each of config.net. `dir` outlives this.
  static Result<Vm> start(const std::string& program, vmm::Config config, const Sources& sources,
                          std::span<const Fd> taps, const ContainerDir& dir);
  // Joins the VM of another container: links its files into `dir`, and makes vmm serve `share` too.
  static Result<Vm> join(const ContainerDir& other, const vmm::Fs& share, const Sources& sources,
                         const ContainerDir& dir);
  ~Vm();
  Vm(Vm&&) = default;
  Vm& operator=(Vm&&) = delete;

  const ProcessId& process() const { return process_; }
  int pidfd() const { return pidfd_.get(); }
  // Gives the connection to guest-init that creates the container. In a VM that start() has started it is the primary
  // connection, which vmm connects to this descriptor. Called once.
  Fd take_control() { return std::move(control_); }

  // Returns what vmm logs and what the guest's console prints, which somebody has to move whenever there is something.
  // Either may be null. A VM that was joined has none.
  std::array<VmmLog*, 2> logs() { return {log_.get(), console_.get()}; }

  // Ends the VM at once, unless other containers use it too.
  void kill();
  // Waits a moment for vmm to end. Returns whether it has.
  bool has_ended() const;
  // Waits a moment for vmm to end, and returns a line that says why it ended.
  std::string explain_end();
  // From now on explain_end() asks no program, because this process may start none any more.
  void ask_no_program() { program_.clear(); }

 private:
  explicit Vm(const ContainerDir& dir) : dir_(&dir) {}
  Result<ProcessExit> wait_for_exit();
  void move_logs();

  const ContainerDir* dir_;
  ProcessId process_;
  Fd pidfd_;
  std::string program_;  // that vmm runs; empty: there is none to ask
  bool is_child_ = false;
  std::unique_ptr<VmmLog> log_, console_;
  Fd control_;
  Fd lifeline_;                         // when this closes, a vmm that we have started ends;
  std::optional<MachineControl> hold_;  // a vmm that we have joined runs at least until this closes
  bool ended_ = false;
};

}  // namespace nacre::runtime
