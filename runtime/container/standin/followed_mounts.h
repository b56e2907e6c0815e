// SPDX-License-Identifier: Apache-2.0
// Follows the host's mounts below the sources of bind mounts that propagate from the host: the mounts that exist, and
// those that the host makes and removes while the container runs.
//
// Each followed mount is a tree of its own in vmm's share, so that it can be taken back. The tree is a detached copy,
// which does not keep the host's umount(2) from working; the copy is dropped a moment after the host's mount.
//
// The stand-in's own mounts are slaves of the host's. A mount of the host appears among them, and the kernel notifies
// the stand-in. The stand-in then asks guest-init to mount the tree. In the guest it propagates to the container's
// mounts by the same rules as on the host.
//
// Nothing here keeps a file below such a mount open, or has a working directory there: the host could not unmount.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/mountinfo.h"
#include "base/result.h"
#include "runtime/config/config.h"
#include "runtime/container/standin/host_namespaces.h"
#include "runtime/state/store.h"
#include "runtime/vm/control.h"

namespace nacre::runtime {

class FollowedMounts {
 public:
  // `dir` is the container's directory, and outlives this object.
  FollowedMounts(std::string container, const ContainerDir& dir, std::vector<oci::Mount> served);

  bool empty() const { return served_.empty(); }

  // Makes `share` leave out the mounts that this object follows. Called first.
  void leave_out(vmm::Fs& share) const;
  // Hands the present mounts to the VM, and adds them to "hostMounts" of the create request. Called when the VM runs,
  // while this process still has the host's mounts. Fails with ESRCH if the VM has ended.
  Result<void> bring(std::vector<protocol::HostMount>& host_mounts);
  // Starts to watch the mounts. Called when the container's mounts have become those of this process. `proc` is an
  // O_PATH directory of the host's /proc. `host` outlives this object.
  Result<void> watch(const HostNamespaces& host, const Fd& proc);
  // Follows the host's mounts. Needs a thread of its own, which switches between the container's mounts and the host's.
  // Returns only if it cannot go on. Calls `begun` once the thread has its own working directory; if that fails,
  // nothing is followed.
  void follow(const std::function<Result<void>()>& begun);

 private:
  // A mount that the guest has.
  struct Followed {
    MountInfo mount;
    uint64_t unique_id;  // 0: the kernel has no unique ids
    std::string path;    // in the guest's share
    std::string name;    // name of the tree that vmm serves
  };

  // A mount that the guest has had from the start.
  struct Brought {
    std::string name;
    const oci::Mount* served;
  };
  using Places = std::map<std::string, const oci::Mount*>;

  Result<void> share(const std::string& name, const Fd& tree);
  void unshare(const std::string& name);
  Result<void> update();
  Result<void> look_at(const MountInfo& mount);
  Places::const_iterator place_above(const std::string& point) const;
  Result<void> pass_on(const Followed& followed);
  Result<void> take_back(const std::string& path, const std::string& name);
  Result<void> tell_to_mount(const Followed& followed);
  Result<void> tell_to_unmount(const std::string& path);
  std::string next_name(const oci::Mount& served);
  Result<void> at_host(const std::function<Result<void>()>& task);

  const std::string container_;
  const ContainerDir* const dir_;
  std::vector<oci::Mount> served_;          // empty if no mount follows the host
  std::map<std::string, Brought> brought_;  // by path, until found among this process's mounts
  std::optional<MachineControl> control_;   // vmm serves the trees for as long as this is connected
  unsigned count_ = 0;

  const HostNamespaces* host_ = nullptr;
  Fd mountinfo_;                                     // lists the namespace with the container's mounts
  Fd namespace_;                                     // the namespace with the container's mounts
  Places places_;                                    // mount points of served_ in this process's mounts
  std::set<std::pair<uint64_t, std::string>> seen_;  // ids and points of all mounts that are not in followed_
  std::vector<Followed> followed_;                   // parents before children
  bool is_lost_ = false;                             // the thread is stuck in the wrong mount namespace
};

}  // namespace nacre::runtime
