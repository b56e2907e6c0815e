// What guest-init knows of its containers and their processes.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "guest-init/containers/device_node.h"
#include "guest-init/containers/freezer.h"
#include "guest-init/containers/host_mounts.h"
#include "guest-init/containers/notify_socket.h"
#include "guest-init/containers/shared_mounts.h"
#include "guest-init/containers/statistics.h"
#include "guest-init/kernel/cgroup.h"
#include "guest-init/kernel/cgroup_watch.h"
#include "guest-init/link/stream.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

// Names a control connection; a connection that is gone has an id that nobody has any more.
using ConnectionId = uint64_t;
inline constexpr ConnectionId kNoConnection = 0;

struct ExitStatus {
  int status = 0;
  int signal = 0;
};

// One process that the host asked for: a container's first, or an exec'ed one. Its own children are not in here.
struct Process {
  enum class State {
    setting_up,  // between the clone and "ready"; `create` or `exec` waits for its reply
    created,     // waits for `start` or `release`
    starting,    // let go; the request waits until the program runs
    running,
    exited,
  };

  std::string container, exec;  // exec is "" for the first process
  State state = State::setting_up;
  pid_t pid = -1;
  Fd pidfd;
  Fd control;  // see child/channel.h; closed once the program runs
  // Of stdin, stdout and stderr; after them of each passed descriptor its input and its output. Any may be none.
  std::vector<std::unique_ptr<Stream>> streams = std::vector<std::unique_ptr<Stream>>(3);
  Fd terminal;                             // its master; the streams of stdin and stdout have their own of it
  bool hangs_up = true;                    // the terminal, when its input ends
  ConnectionId owner = kNoConnection;      // created it, and gets its exit
  ConnectionId requester = kNoConnection;  // waits for a reply about it
  std::optional<Error> setup_error;
  int fatal_signal = 0;  // asked for before the program ran, and done by SIGKILL
  ExitStatus exit;

  bool is_first() const { return exec.empty(); }
  bool is_alive() const { return state != State::exited; }
  bool is_drained() const {
    for (const auto& stream : streams) {
      if (stream && !stream->is_drained()) return false;
    }
    return true;
  }
};

struct Container {
  std::string id;
  ContainerSpec spec;
  std::optional<Cgroup> cgroup;
  std::optional<Freezer> freezer;
  Process first;
  std::map<std::string, std::unique_ptr<Process>> execs;
  std::unique_ptr<OomWatch> ooms;  // none without memory.events
  std::set<ConnectionId> watchers;
  std::unique_ptr<NotifySocket> notify;  // where the host asked for one
  std::vector<DeviceNode> nodes;
  HostMounts host_mounts;
  std::map<size_t, std::shared_ptr<SharedMount>> shared_mounts;  // by the index of the mount

  // The steps after the first process's exit.
  std::unique_ptr<CgroupWatch> leaving;  // of cgroup.events, while there still are processes
  pid_t syncer = -1;                     // flushes the file systems
  bool synced = false;
  bool reported = false;
  std::vector<ConnectionId> deleters;  // wait for the end

  bool is_paused() const { return first.is_alive() && freezer->is_frozen(); }
  std::string_view status() const {
    if (is_paused()) return "paused";
    switch (first.state) {
      case Process::State::setting_up:
      case Process::State::created:
        return "created";
      case Process::State::exited:
        return "stopped";
      default:
        return "running";
    }
  }
};

}  // namespace nacre::guest
