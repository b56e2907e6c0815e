// SPDX-License-Identifier: Apache-2.0
// All containers, and the requests about them. The table finds what a request is about, owns the containers, and takes
// them away at their end; what a process and a container do is theirs.
//
// Lives on the event loop. A request's function returns its reply, or nothing if the reply comes later through Outlet.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/alive.h"
#include "base/event_loop.h"
#include "guest-init/containers/container.h"
#include "guest-init/containers/helpers.h"
#include "guest-init/containers/joined_namespaces.h"
#include "guest-init/containers/spawn.h"
#include "guest-init/link/transport.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

struct TableConfig {
  std::string cgroup_mount = "/sys/fs/cgroup";
  std::string cgroup_parent = "/sys/fs/cgroup";  // containers' cgroups are made in here
  std::string cpu_path = "/sys/devices/system/cpu";
  std::string share = protocol::kShareMountPoint;  // of the host; flushed when a container ends
  std::string notify_directory = protocol::kNotifyDirectory;
  std::string shared_directory = "/run/nacre/shared";  // where shared_mounts.h mounts them
  unsigned helper_seconds = 30;                        // how long a helper may take; the host gives up later
};

// Where later replies and events go. Those for a connection that has ended are dropped.
struct Outlet {
  std::function<void(ConnectionId, const Json&)> reply;
  std::function<void(ConnectionId, const Json&)> event;
};

// Encodes the answer to a request that has nothing to say.
Json ok();

class ContainerTable {
 public:
  using Answer = Result<std::optional<Json>>;

  ContainerTable(EventLoop& loop, Transport& transport, TableConfig config, Outlet outlet);
  ~ContainerTable();

  Answer create(ConnectionId connection, protocol::Create request);
  Answer start(ConnectionId connection, protocol::Start request);
  Answer exec(ConnectionId connection, protocol::Exec request);
  Answer release(ConnectionId connection, protocol::Release request);
  Answer kill(ConnectionId connection, protocol::Kill request);
  Answer resize(ConnectionId connection, protocol::Resize request);
  Answer state(ConnectionId connection, protocol::State request);
  Answer remove(ConnectionId connection, protocol::Delete request);
  Answer pause(ConnectionId connection, protocol::Pause request);
  Answer resume(ConnectionId connection, protocol::Resume request);
  Answer processes(ConnectionId connection, protocol::Processes request);
  Answer procfs(ConnectionId connection, protocol::Procfs request);
  Answer statistics(ConnectionId connection, protocol::Statistics request);
  Answer watch(ConnectionId connection, protocol::Watch request);
  Answer update(ConnectionId connection, protocol::Update request);
  Answer mount(ConnectionId connection, protocol::Mount request);
  Answer unmount(ConnectionId connection, protocol::Unmount request);

  // A child of guest-init, or an orphan of a container, has ended; it is still to be reaped.
  void on_exit(pid_t pid, ExitStatus exit);
  // Any number of those were reaped.
  void on_reaped();
  // Kills the processes that the connection has created: nobody could hear of their end any more.
  void on_connection_closed(ConnectionId connection);
  // Returns whether there is a container whose creator is still connected.
  bool is_in_use() const;

 private:
  Result<Container*> find(const std::string& id);
  Result<Container*> find_running(const std::string& id);
  static Result<Process*> find_process(Container& container, const std::optional<std::string>& exec);
  SpawnContext spawn_context(const std::string& container);
  Result<std::vector<NamespaceJoin>> find_joins(const protocol::Texts& wanted, ContainerSpec& spec);
  Result<void> find_shared_mounts(const protocol::Texts& keys, Container& container);
  void watch_messages(Process& process);
  void take_messages(Process& process);
  Result<void> listen_for_readiness(Container& container, ConnectionId connection);
  Result<void> watch_for(Container& container, ConnectionId connection);
  // Chooses the container's CPUs, if `limits` has a number of them, and adds the file that says which. Returns them;
  // nothing if `limits` has no number.
  std::vector<unsigned> add_cpus(const std::string& container, Limits& limits) const;
  Result<void> set_limits(const Container& container, const std::vector<oci::CgroupFile>& files, unsigned cpus);

  Process* process_named(const std::string& container, const std::string& exec);
  void process_exited(Container& container, Process& process, ExitStatus exit);
  void check_later(const std::string& container);
  void check(const std::string& container);
  void check_execs(Container& container);
  void report_exit(Process& process);

  EventLoop& loop_;
  Transport& transport_;
  const TableConfig config_;
  const Outlet outlet_;
  Helpers helpers_{loop_, config_.helper_seconds};
  SharedMounts shared_mounts_{config_.shared_directory};
  std::map<std::string, std::unique_ptr<Container>> containers_;
  // Of exec'ed processes that have ended, if a child of theirs may still write.
  std::vector<std::unique_ptr<Stream>> left_streams_;
  Alive alive_;
};

}  // namespace nacre::guest
