// That a container is ready (sd_notify(3)), passed on to whoever started it.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace nacre::runtime {

class NotifyForwarder {
 public:
  // Connects to the socket that NOTIFY_SOCKET names, a path or "@" and an abstract name. Without one, or where nobody
  // listens, nothing is forwarded.
  static NotifyForwarder from_environment();

  // As under runc it is "READY=1" alone that is passed on, with our own pid for the main one. Once.
  void tell_ready();

 private:
  Fd socket_;
};

}  // namespace nacre::runtime
