// SPDX-License-Identifier: Apache-2.0
// What each kind of thread of vmm gives up before it serves the guest. vmm/jail/syscalls_ARCHITECTURE.cc lists the
// system calls that each may still make.
#pragma once

#include <functional>
#include <optional>

#include "base/result.h"
#include "base/syscall_filter.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

enum class ThreadKind {
  main,         // devices, vsock, control socket; starts the vCPU threads, which inherit its filter
  vcpu,         // runs the guest
  file_server,  // one for each virtio-fs
  net,          // one for each virtio-net
  node_maker,   // the process beside vmm (vmm/jail/node_maker.h)
};

// Locks the calling thread in for good. Each thread calls it as its last act before it serves the guest.
using ThreadLock = std::function<Result<void>(ThreadKind)>;

// Takes the capabilities from the threads of vCPUs and network devices, and the signals from those of file servers and
// network devices, and, with the jail, installs the filter of system calls.
Result<void> lock_thread(ThreadKind kind, const Jail& jail);

}  // namespace nacre::vmm
