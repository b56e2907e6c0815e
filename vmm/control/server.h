// SPDX-License-Identifier: Apache-2.0
// The server of the control socket (vmm/api/control.h).
#pragma once

#include <memory>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/api/control.h"

namespace nacre::vmm {

// Names a caller for as long as it is connected.
using CallerId = int;

class ControlHandler {
 public:
  virtual ~ControlHandler() = default;
  // `descriptor` came with the packet; it is invalid if none did.
  virtual Result<MachineSize> handle(CallerId caller, const ControlRequest& request, Fd descriptor) = 0;
  virtual void caller_is_gone(CallerId caller) = 0;
};

// On the loop's thread. Callers are trusted with the machine, not with the server: a packet that makes no sense gets an
// error, and a caller that does not read its answers is dropped. If vmm has no descriptor left for a new caller, the
// server pauses for a moment, since a listening socket that nobody can accept from would keep the loop busy.
class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop, Fd listener, ControlHandler& handler);
  ~ControlServer();

 private:
  ControlServer(EventLoop& loop, Fd listener, Fd retry, ControlHandler& handler)
      : loop_(loop), listener_(std::move(listener)), retry_(std::move(retry)), handler_(handler) {}
  void accept_caller();
  void pause();
  void resume();
  void serve(int fd);
  Result<MachineSize> answer(int fd, std::span<const char> packet, std::vector<Fd> descriptors);
  void drop(int fd);

  EventLoop& loop_;
  Fd listener_;
  Fd retry_;  // a timerfd that ends a pause
  ControlHandler& handler_;
  std::unordered_map<int, Fd> callers_;
  LogLimiter log_;
};

}  // namespace nacre::vmm
