// SPDX-License-Identifier: Apache-2.0
// Represents one process in a guest to its stand-in: the control connection, the stdio, the signals and the end of the
// process.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "guest-init/protocol/messages.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/container/standin/read_only.h"
#include "runtime/container/standin/terminal.h"
#include "runtime/guest/connection.h"

namespace nacre::runtime {

// The descriptors that the process's streams are connected to; -1: none.
struct Stdio {
  int in = -1, out = -1, err = -1;
  std::vector<PassedFd> passed;
  std::vector<ReadOnlyFile> reopened;  // files among these that were opened again
};
// Returns the descriptors of the process's stdio: this process's 0, 1 and 2, or the terminal and its redirections.
// /dev/null and closed descriptors need no stream: -1. Files for reading are opened again, so the mounts must still be
// the caller's. Fails with EISDIR if one is a directory.
Result<Stdio> probe_stdio(const std::optional<Terminal>& terminal, std::vector<PassedFd> passed);
// Returns what a Create or Exec request says about these descriptors.
protocol::StdioWanted wanted_stdio(const Stdio& stdio);

// Says how long to wait for a reply. The time in which the host had no CPU for the process `vmm` (0: none) does not
// count: a host on which many VMs boot at once is slow, and none of them hangs. With `vmm`, /proc must be the host's.
struct Patience {
  // NOLINTNEXTLINE(google-explicit-constructor): most waits are a number of milliseconds
  Patience(int timeout, pid_t busy_vmm = 0) : timeout_ms(timeout), vmm(busy_vmm) {}

  int timeout_ms;
  pid_t vmm;
};

class Session {
 public:
  // `exec` is empty for the container's first process. The session ends if the process of `vmm_pidfd`
  // (-1: none) ends.
  Session(Fd control, std::string container, std::string exec, int vmm_pidfd);

  // Sends a request and waits for its reply; an error reply is an Error. Gives up with ECANCELED when the other end of
  // `hangup_fd` (-1: none) is closed, and with ECONNRESET when the VM ends.
  template <typename Request>
  Result<typename Request::Reply> request(const Request& request, Patience patience, int hangup_fd = -1) {
    return protocol::decode_reply<typename Request::Reply>(
        TRY(request_json(protocol::encode(request), patience, hangup_fd)));
  }

  // Passes changes of this terminal's window on. A signal that the kernel sends because the terminal hung up is not
  // passed on, since the guest's terminal hangs up too.
  void watch_terminal(Fd terminal) { terminal_ = std::move(terminal); }

  // Sets the handler of Oom events.
  void on_oom(std::function<void()> handler) { on_oom_ = std::move(handler); }

  // Sets the handler of Ready events.
  void on_ready(std::function<void()> handler) { on_ready_ = std::move(handler); }

  // Calls `handler` whenever `fd` is readable while this waits, until the handler returns false.
  void watch(int fd, std::function<bool()> handler) { watched_.push_back({fd, std::move(handler)}); }

  // Gives the stdio descriptors to vmm, for the ports of a Created reply. `directory` is the container's directory.
  // Closes the passed ones, which vmm has then.
  Result<void> attach_stdio(int directory, const protocol::StreamPorts& ports, Stdio stdio);

  // Forwards signals from `signal_fd` until the process has ended, and waits until its output is written. If the VM
  // ends before, the process counts as killed by SIGKILL, like a process of a container whose init has died.
  ProcessExit run(int signal_fd);
  // Returns true if the guest has reported how the process ended.
  bool was_told_of_exit() const { return exited_.has_value(); }

 private:
  enum class Wake { message, signal, vm_ended, hangup, watched, timeout };

  Wake wait(int signal_fd, int hangup_fd, int timeout_ms);
  Result<bool> read_control();  // false at the end of the connection
  Result<protocol::Json> request_json(const protocol::Json& message, Patience patience, int hangup_fd);
  // Returns the next reply, or nothing if more bytes are needed. Handles events that come before the reply.
  Result<std::optional<protocol::Json>> next_reply();
  Result<void> attach_output(int directory, int fd, uint32_t port, size_t number);
  Result<void> attach_input(int directory, int fd, uint32_t port);
  void forward_signal(int signal_fd);
  template <typename Request>
  void tell_guest(Request request);
  void flush(int signal_fd);
  void request_flush();
  bool ask_progress();

  struct Watched {
    int fd;
    std::function<bool()> handler;
  };
  struct Exited {
    ProcessExit exit;
    protocol::Sent sent;
  };
  // A descriptor of this process that vmm writes to.
  struct Output {
    Stream stream;
    size_t number = 0;   // number of the process's descriptor
    bool ended = false;  // everything is written, or nothing more can be
  };

  Fd control_;
  const std::string container_;
  const std::string exec_;
  const int vmm_pidfd_;
  Fd terminal_;
  protocol::Decoder decoder_{protocol::kSmall};
  std::optional<Exited> exited_;
  std::function<void()> on_oom_ = [] {};
  std::function<void()> on_ready_ = [] {};
  std::vector<Watched> watched_;
  std::vector<Stream> inputs_;
  std::vector<ReadOnlyFile> reopened_;
  std::vector<Output> outputs_;
};

// Blocks all signals that can be caught, and returns a descriptor that reads them. read_signal() filters SIGCHLD of
// this process's own children.
Result<Fd> take_signals();
struct Signal {
  int number = 0;
  bool from_kernel = false;  // not sent by kill(2) or a similar call
};
// Returns the next signal that was sent to this process, or nothing for the SIGCHLD of a child of its own.
std::optional<Signal> read_signal(int signal_fd);

// Returns true if the default action of a signal ends the process (signal(7)).
bool ends_process(int signal);

// Ends this process as the container's process ended: with its status, or by its signal.
[[noreturn]] void end_like(const ProcessExit& exit);

}  // namespace nacre::runtime
