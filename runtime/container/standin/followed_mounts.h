// The host's mounts below the sources of bind mounts that follow the host: those that are there, and what the host
// mounts and unmounts while the container runs.
//
// Each is a tree of its own in vmm's share, so that it can be taken back: a copy that is attached nowhere, of which the
// host's umount(2) knows nothing, and a moment later the copy is gone too. The stand-in's own mounts are slaves of the
// host's: what comes there comes to it, and the kernel tells. It then asks guest-init to mount it; from there it goes
// to those mounts of the container that follow, by the same rules as on the host.
//
// Nothing here opens a file below such a mount, or stays in it: the host could not unmount it then.
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
  // `dir`, the container's, outlives this.
  FollowedMounts(std::string container, const ContainerDir& dir, std::vector<oci::Mount> served);

  bool empty() const { return served_.empty(); }

  // First: `share` leaves to us what is mounted below.
  void leave_out(vmm::Fs& share) const;
  // With the VM there, and the mounts still the host's: hands it what is mounted below, and adds that to "hostMounts"
  // of the create request. ESRCH: the VM has ended.
  Result<void> bring(std::vector<protocol::HostMount>& host_mounts);
  // When the container's mounts have become ours. `proc`: the host's /proc, an O_PATH directory. `host` outlives this.
  Result<void> watch(const HostNamespaces& host, const Fd& proc);
  // On a thread of its own, which goes back and forth between the container's mounts and the host's. Returns only where
  // it cannot go on. `begun` is called when its working directory is its own.
  void follow(const std::function<void()>& begun);

 private:
  // One that the guest has.
  struct Followed {
    MountInfo mount;
    uint64_t unique_id;  // 0: the kernel has none
    std::string path;    // in the guest's share
    std::string name;    // of the tree that vmm serves
  };

  // What the guest had from the start.
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
  std::vector<oci::Mount> served_;          // empty where none follows
  std::map<std::string, Brought> brought_;  // by their paths, until they are found among our mounts
  std::optional<MachineControl> control_;   // vmm serves the trees for as long as this is connected
  unsigned count_ = 0;

  const HostNamespaces* host_ = nullptr;
  Fd mountinfo_;                                     // of the namespace with the container's mounts
  Fd namespace_;                                     // that one
  Places places_;                                    // where served_ are for us
  std::set<std::pair<uint64_t, std::string>> seen_;  // ids and points of all that are none of followed_
  std::vector<Followed> followed_;                   // the upper before the lower
  bool is_lost_ = false;                             // the thread is where it should not be
};

}  // namespace nacre::runtime
