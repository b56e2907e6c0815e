// The control socket's end in vmm (vmm/api/control.h).
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/api/control.h"

namespace nacre::vmm {

// On the loop's thread. Callers are few and trusted; one that does not read its answers is dropped.
class ControlServer {
 public:
  using Handler = std::function<Result<MachineSize>(const Resize& request)>;

  static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop, Fd listener, Handler handler);
  ~ControlServer();

 private:
  ControlServer(EventLoop& loop, Fd listener, Handler handler)
      : loop_(loop), listener_(std::move(listener)), handler_(std::move(handler)) {}
  void accept_client();
  void serve(int fd);
  void drop(int fd);

  EventLoop& loop_;
  Fd listener_;
  Handler handler_;
  std::unordered_map<int, Fd> clients_;
  LogLimiter log_;
};

}  // namespace nacre::vmm
