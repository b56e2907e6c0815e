// The control socket's end in vmm (vmm/api/control.h).
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
  // `descriptor`: what came with the packet, or none.
  virtual Result<MachineSize> handle(CallerId caller, const ControlRequest& request, Fd descriptor) = 0;
  virtual void caller_is_gone(CallerId caller) = 0;
};

// On the loop's thread. Callers are trusted; one that does not read its answers is dropped.
class ControlServer {
 public:
  static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop, Fd listener, ControlHandler& handler);
  ~ControlServer();

 private:
  ControlServer(EventLoop& loop, Fd listener, ControlHandler& handler)
      : loop_(loop), listener_(std::move(listener)), handler_(handler) {}
  void accept_caller();
  void serve(int fd);
  Result<MachineSize> answer(int fd, std::span<const char> packet, std::vector<Fd> descriptors);
  void drop(int fd);

  EventLoop& loop_;
  Fd listener_;
  ControlHandler& handler_;
  std::unordered_map<int, Fd> callers_;
  LogLimiter log_;
};

}  // namespace nacre::vmm
