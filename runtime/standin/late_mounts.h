// What the host mounts, and unmounts, below a bind mount's source while the container runs.
//
// The stand-in's mounts are slaves of the host's: what comes there comes to it too, and the kernel tells. It hands the
// tree to vmm, as a share of its own, and asks guest-init to mount it; from there it goes to those mounts of the
// container that follow, by the same rules as on the host. vmm has a copy of the mount that nobody unmounts but us: so
// the host's umount(2) never finds it busy, and a moment later the copy is gone too.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mountinfo.h"
#include "base/result.h"
#include "runtime/agent/machine_control.h"
#include "runtime/standin/host_namespaces.h"
#include "runtime/state/store.h"
#include "runtime/translate/translate.h"

namespace nacre::runtime {

class LateMounts {
 public:
  struct Container {
    std::string id;
    const ContainerDir* dir;
    const HostNamespaces* host;
  };

  // Where the container's mounts are ours already; what is mounted from now on is seen. `proc`: the host's /proc, an
  // O_PATH directory.
  static Result<LateMounts> watch(Container container, const std::vector<ServedMount>& served, const Fd& proc);

  // On a thread of its own, which goes back and forth between the container's mounts and the host's. Returns only where
  // it cannot go on.
  void follow();

 private:
  // A bind mount of the container.
  struct Served {
    std::string point;  // where it is for us
    std::string target;
    bool follows;
  };
  // One that was passed on.
  struct Late {
    uint64_t id;
    uint64_t unique_id;    // 0: the kernel has none
    std::string point;     // where it is for us
    std::string path;      // in the guest's share
    MachineControl share;  // vmm serves it for as long as this is connected
  };

  explicit LateMounts(Container container) : container_(std::move(container)) {}
  Result<void> update();
  static bool is_another(const Late& late);
  const Served* served_above(const std::string& point) const;
  Result<Late> pass_on(const MountInfo& mount, const Served& served);
  Result<void> take_back(Late late);
  Result<void> tell_guest(nlohmann::json request);
  template <typename Task>
  auto at_host(Task task) -> decltype(task());

  Container container_;
  Fd mountinfo_;  // of the namespace with the container's mounts
  Fd namespace_;  // that one
  std::vector<Served> served_;
  std::set<uint64_t> seen_;  // by their ids, all but late_
  std::vector<Late> late_;   // in the order in which they came
  unsigned count_ = 0;
  bool is_lost_ = false;  // the thread is where it should not be
};

}  // namespace nacre::runtime
