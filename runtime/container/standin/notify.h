// SPDX-License-Identifier: Apache-2.0
// Tells the service manager that a container is ready (sd_notify(3)).
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace nacre::runtime {

class NotifyForwarder {
 public:
  // Connects to the socket that NOTIFY_SOCKET names, a path or "@" and an abstract name. If the variable is not set, or
  // if nobody listens, nothing is forwarded.
  static NotifyForwarder from_environment();

  // Sends "READY=1", and this process's pid as the main pid, once. Other notifications are not passed on, as under
  // runc.
  void tell_ready();

 private:
  Fd socket_;
};

}  // namespace nacre::runtime
