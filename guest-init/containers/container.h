// SPDX-License-Identifier: Apache-2.0
// What guest-init knows of a container, and how a container ends.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "guest-init/containers/device_node.h"
#include "guest-init/containers/freezer.h"
#include "guest-init/containers/host_mounts.h"
#include "guest-init/containers/notify_socket.h"
#include "guest-init/containers/process.h"
#include "guest-init/containers/shared_mounts.h"
#include "guest-init/containers/statistics.h"
#include "guest-init/kernel/cgroup.h"
#include "guest-init/kernel/cgroup_watch.h"
#include "guest-init/protocol/messages.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

class Container {
 public:
  std::string id;
  ContainerSpec spec;
  std::optional<Cgroup> cgroup;
  std::vector<unsigned> cpus;  // of the machine, which the container may use; empty: all
  std::optional<Freezer> freezer;
  Process first;
  std::map<std::string, std::unique_ptr<Process>> execs;
  std::unique_ptr<OomWatch> ooms;  // null without memory.events
  std::set<ConnectionId> watchers;
  std::unique_ptr<NotifySocket> notify;  // null if the host has not asked for one
  std::vector<DeviceNode> nodes;
  HostMounts host_mounts;
  std::optional<protocol::Network> network;                      // until it is configured
  std::map<size_t, std::shared_ptr<SharedMount>> shared_mounts;  // by the index of the mount

  bool reported = false;               // the host has heard of the first process's exit
  std::vector<ConnectionId> deleters;  // wait for the end

  bool is_paused() const { return first.is_alive() && freezer->is_frozen(); }
  // Returns the word of a State reply.
  std::string_view status() const;
  // Returns a process that has ended and is still to be reaped, or is alive; null if the pid is none of the
  // container's.
  Process* find_living(pid_t pid);
  // Returns whether the kernel has killed one of the container's processes because memory was used up.
  bool was_short_of_memory();
  // Kills what is left of the container after its first process, and lets it run to its end.
  void kill_rest();

  // Takes the next steps towards the container's end; returns true if nothing of it is left but this object, and the
  // host may be told. The steps, each of which may have to be waited for:
  //
  //   first process exits -> exec'ed processes exit -> cgroup is empty and removed -> file systems are synced
  //       -> output of the first process is drained, or somebody deletes the container
  //
  // A container whose first process was never set up ends with its cgroup. Whatever may bring the end nearer has to
  // call this again; `look_again` is called from the loop for what nobody else sees. `share` is the file system to
  // sync.
  bool end(EventLoop& loop, const std::string& share, const std::function<void()>& look_again);
  // The process that syncs has ended, if `pid` is that.
  bool take_sync(pid_t pid);

 private:
  void watch_leaving(EventLoop& loop, const std::function<void()>& look_again);
  void start_sync(const std::string& share);

  std::unique_ptr<CgroupWatch> leaving_;  // of cgroup.events, while there still are processes
  pid_t syncer_ = -1;                     // flushes the file systems
  bool synced_ = false;
};

}  // namespace nacre::guest
