// SPDX-License-Identifier: Apache-2.0
// The namespaces of the container on the host's side: those of the stand-in, whose /proc/PID/ns/* callers and hooks
// join.
//
// In them are the network that the VM is to be connected to, and the files that it serves. The processes of the
// container have others, in the guest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/guest/procfs/file_system.h"
#include "runtime/plan/plan.h"
#include "runtime/vm/sources.h"

namespace nacre::runtime {

class HostNamespaces {
 public:
  // Makes the namespaces, or joins those with a path. The mounts are the host's, and follow what the host mounts. A
  // user without privilege is then in a user namespace of his own (base/user_namespace.h).
  static Result<HostNamespaces> enter(const HostPlan& plan);

  // Returns true if the network namespace of this process is neither the caller's nor the host's, whose links are not
  // the container's to take.
  bool has_network() const { return has_network_; }

  // Mounts the file systems of the plan. An error if the container has no mount namespace of its own.
  Result<void> mount_filesystems(const std::vector<HostFilesystem>& filesystems) const;

  // Makes the container's root filesystem and its bind mounts this process's "/", so that tools find the container's
  // files there (podman cp). A mount that lives in the guest alone (tmpfs, proc, ...) is covered by an empty read-only
  // file system: nobody takes the files below it for the container's, or writes where the container never looks. On the
  // container's /proc there is a file system that the caller has to serve, if the host can have one; its first request
  // waits. From then on, host files are reachable only through descriptors that are already open.
  Result<std::optional<procfs::Mounted>> show_root(const HostPlan& plan, const Sources& sources) const;
  // Returns true if show_root() makes the mounts of this process the container's.
  bool shows_root(const HostPlan& plan) const { return host_mounts_ && plan.rootfs != "/"; }
  // Returns the calling thread to the host's mounts. If there are other threads, it must have a working directory of
  // its own (CLONE_FS).
  Result<void> leave_mounts() const;

 private:
  bool has_network_ = false;
  Fd host_mounts_;  // invalid: the container has no mount namespace of its own
};

}  // namespace nacre::runtime
