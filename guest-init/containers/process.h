// SPDX-License-Identifier: Apache-2.0
// One process that the host asked for: a container's first, or an exec'ed one.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/child/channel.h"
#include "guest-init/link/stream.h"
#include "guest-init/link/transport.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

using protocol::ExitStatus;
using protocol::Json;

// Names a control connection. A connection that has ended has an id that nobody has any more.
using ConnectionId = uint64_t;
inline constexpr ConnectionId kNoConnection = 0;

// What a process is made with.
struct SpawnContext {
  EventLoop& loop;
  Transport& transport;
  std::string cgroup_mount;
  // Called when a stream of the process has changed.
  std::function<void()> on_stream_change;
};

// The streams of one descriptor of a process: a pipe has one of them, a socket both.
struct Descriptor {
  std::unique_ptr<Stream> input, output;
};

// Of stdin, stdout and stderr. Each is null if it is /dev/null; a terminal has two.
struct StdioStreams {
  std::unique_ptr<Stream> in, out, err;
};

class Process {
 public:
  //   setting_up --"ready"--> created --start, release--> starting --execve--> running
  //       |                      |                           |                    |
  //       +----------------------+------- its end -----------+--------------------+---> exited
  enum class State {
    setting_up,  // between the clone and "ready"; the Create or Exec request waits for its reply
    created,     // waits for a Start or Release request
    starting,    // was let go; that request waits until the program runs
    running,
    exited,
  };

  std::string container, exec;  // exec is "" for the first process
  State state = State::setting_up;
  pid_t pid = -1;
  Fd pidfd;
  Fd control;  // see child/channel.h; closed once the program runs
  StdioStreams stdio;
  std::vector<Descriptor> passed;          // from 3 on
  Fd terminal;                             // its master; the streams of stdin and stdout have their own of it
  bool hangs_up = true;                    // the terminal, when its input ends
  ConnectionId owner = kNoConnection;      // created the process, and hears of its exit
  ConnectionId requester = kNoConnection;  // waits for a reply about it
  std::optional<Error> setup_error;
  std::vector<std::string> warnings;  // for the reply that it is set up
  int fatal_signal = 0;               // was asked for before the program ran, and done by SIGKILL
  ExitStatus exit;

  bool is_first() const { return exec.empty(); }
  bool is_alive() const { return state != State::exited; }
  // Returns whether all output of the process is on its connections, or never can be.
  bool is_drained() const;

  // Watches `control`; `on_message` is called from the loop when the child has said something.
  Result<void> watch(EventLoop& loop, std::function<void()> on_message);
  void stop_watching(EventLoop& loop);
  // Makes the streams of a terminal.
  Result<void> add_terminal(Fd master, const SpawnContext& context);
  // Takes what the child has said and goes to the next state. `reply` gets the answer for the requester, if there is
  // one.
  using Reply = std::function<void(ConnectionId requester, const Json& reply)>;
  void take_messages(const SpawnContext& context, const Reply& reply);
  // Lets the process go on to its program. `connection` gets the reply when the program runs, or could not be run.
  Result<void> let_go(ConnectionId connection);
  // Sends a signal; returns the one that was sent, which is SIGKILL for a process that does not run its program yet.
  Result<int> kill(int signal);

  // The process has ended. `out_of_memory`: the kernel has killed processes of its container for that.
  void exited(ExitStatus status, bool out_of_memory);
  // Gives up the terminal once the host's end of it is gone: the kernel then sends SIGHUP.
  void check_terminal();
  // Closes all streams; nobody wants the rest of the output.
  void abort_streams();
  // Returns the outputs on which others may still write.
  std::vector<std::unique_ptr<Stream>> take_unfinished_outputs();

  protocol::StreamPorts ports() const;
  protocol::Sent sent() const;
  protocol::Exited exit_event() const;

 private:
  template <typename Visit>
  void for_each_stream(Visit visit) const;
};

}  // namespace nacre::guest
