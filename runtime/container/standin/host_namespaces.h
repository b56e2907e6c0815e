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
#include "runtime/config/config.h"
#include "runtime/guest/procfs/file_system.h"
#include "runtime/plan/translate.h"

namespace nacre::runtime {

struct HostNamespacePlan {
  std::vector<oci::Namespace> namespaces;
  std::string hostname, domainname;
  std::string rootfs;
  bool rootfs_readonly = false;
  std::vector<oci::Mount> mounts;
};

HostNamespacePlan plan_host_namespaces(const oci::Config& config);

class HostNamespaces {
 public:
  // Makes them, or joins those with a path. The mounts are the host's, and follow what the host mounts. A user without
  // privilege is in a user namespace of his own then (base/user_namespace.h).
  static Result<HostNamespaces> enter(const HostNamespacePlan& plan);

  // Mounts what the guest is to find there. An error without a mount namespace of our own.
  Result<void> mount_filesystems(const std::vector<HostFilesystem>& filesystems) const;

  // Takes the root filesystem, with the bind mounts, as "/", as they look in the container: there tools find its files
  // (podman cp). What lives in the guest alone (tmpfs, proc, ...) is covered by an empty read-only file system, so that
  // nobody takes what is below for it, or writes where the container never looks. On the container's /proc there is a
  // file system that the caller has to serve, if the host can have one; its first request waits.
  // Only what is open already can be reached of the host's files then.
  Result<std::optional<procfs::Mounted>> show_root(const HostNamespacePlan& plan) const;
  // Whether show_root() makes our mounts the container's.
  bool shows_root(const HostNamespacePlan& plan) const { return host_mounts_ && plan.rootfs != "/"; }
  // Back to the host's mounts. For the calling thread; with others, it must have its own working directory
  // (CLONE_FS).
  Result<void> leave_mounts() const;

 private:
  Fd host_mounts_;  // invalid: the container has no mount namespace of its own
};

}  // namespace nacre::runtime
