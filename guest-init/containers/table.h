// All containers, and what the host may ask about them: the requests of protocol.h and the life of each process from
// clone to exit.
//
// Lives on the event loop. A request gives its reply, or nothing when the reply comes later through Outlet.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "guest-init/containers/container.h"
#include "guest-init/containers/helpers.h"
#include "guest-init/containers/joined_namespaces.h"
#include "guest-init/containers/spawn.h"
#include "guest-init/link/transport.h"
#include "guest-init/protocol/protocol.h"

namespace nacre::guest {

struct TableConfig {
  std::string cgroup_mount = "/sys/fs/cgroup";
  std::string cgroup_parent = "/sys/fs/cgroup";  // containers' cgroups are made in here
  std::string cpu_path = "/sys/devices/system/cpu";
  std::string sync_path = protocol::kShareMountPoint;  // the file system to flush when a container ends
  std::string notify_directory = protocol::kNotifyDirectory;
  std::string shared_directory = "/run/nacre/shared";  // where shared_mounts.h mounts them
  unsigned helper_seconds = 30;                        // how long a helper may take; the host gives up later
};

// Where later replies and events go. Ones for a connection that is gone are dropped.
struct Outlet {
  std::function<void(ConnectionId, const Json&)> reply;
  std::function<void(ConnectionId, const Json&)> event;
};

class ContainerTable {
 public:
  using Answer = Result<std::optional<Json>>;

  ContainerTable(EventLoop& loop, Transport& transport, TableConfig config, Outlet outlet);
  ~ContainerTable();

  Answer create(ConnectionId connection, const Json& request);
  Answer start(ConnectionId connection, const Json& request);
  Answer exec(ConnectionId connection, const Json& request);
  Answer release(ConnectionId connection, const Json& request);
  Answer kill(ConnectionId connection, const Json& request);
  Answer resize(ConnectionId connection, const Json& request);
  Answer state(ConnectionId connection, const Json& request);
  Answer remove(ConnectionId connection, const Json& request);
  Answer pause(ConnectionId connection, const Json& request);
  Answer resume(ConnectionId connection, const Json& request);
  Answer processes(ConnectionId connection, const Json& request);
  Answer procfs(ConnectionId connection, const Json& request);
  Answer statistics(ConnectionId connection, const Json& request);
  Answer watch(ConnectionId connection, const Json& request);
  Answer update(ConnectionId connection, const Json& request);
  Answer mount(ConnectionId connection, const Json& request);
  Answer unmount(ConnectionId connection, const Json& request);

  // A process of ours, or an orphan of a container's, has ended; it is still to be reaped.
  void on_exit(pid_t pid, ExitStatus exit);
  // After any number of those were reaped.
  void on_reaped();
  // Whoever created a process and is gone cannot hear of its end any more: the process goes too.
  void on_connection_closed(ConnectionId connection);
  // Whether there is a container whose creator is still there.
  bool is_in_use() const;

 private:
  Result<Container*> find(const Json& request);
  Result<Container*> find_running(const Json& request);
  Result<Process*> find_process(Container& container, const Json& request);
  SpawnContext spawn_context(const std::string& container);
  Result<std::vector<NamespaceJoin>> find_joins(const Json& request, ContainerSpec& spec);
  Result<void> find_shared_mounts(const Json& request, Container& container);
  Result<void> watch_control(Process& process);
  void read_control(const std::string& container, const std::string& exec);
  void take_messages(Process& process);
  void stop_watching(Process& process);
  Result<void> listen_for_readiness(Container& container, ConnectionId connection);
  Result<void> set_limits(const Container& container, const std::vector<protocol::CgroupFile>& files, unsigned cpus);
  Result<void> watch_for(Container& container, ConnectionId connection);
  Answer let_go(ConnectionId connection, Process& process);

  Process* process_named(const std::string& container, const std::string& exec);
  Process* process_with_pid(pid_t pid);
  void process_exited(Process& process, ExitStatus exit);
  void setup_failed(Process& process);
  void check_later(const std::string& container);
  void check(const std::string& container);
  void check_terminal(Process& process);
  void check_execs(Container& container);
  bool was_short_of_memory(const std::string& container);
  bool is_over(Container& container);
  void watch_leaving(Container& container);
  void report_exit(Process& process);
  void keep_streams(Process& process);
  void start_sync(Container& container);

  EventLoop& loop_;
  Transport& transport_;
  const TableConfig config_;
  const Outlet outlet_;
  Helpers helpers_{loop_, config_.helper_seconds};
  SharedMounts shared_mounts_{config_.shared_directory};
  std::map<std::string, std::unique_ptr<Container>> containers_;
  // Of exec'ed processes that are gone, where a process of theirs may still write.
  std::vector<std::unique_ptr<Stream>> left_streams_;
  // Tasks that were posted to the loop look here whether there still is a table.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace nacre::guest
