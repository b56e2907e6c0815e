// The stand-in's side of one process in a guest: its control connection, its stdio, its signals and its end.
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
#include "runtime/container/standin/terminal.h"
#include "runtime/guest/connection.h"

namespace nacre::runtime {

// The descriptors that the process's streams are joined to; -1: none.
struct Stdio {
  int in = -1, out = -1, err = -1;
  std::vector<PassedFd> passed;
};
// Our descriptors 0, 1 and 2 as far as they lead anywhere: /dev/null and closed ones need no stream. With a terminal it
// is all three.
Stdio probe_stdio(const std::optional<Terminal>& terminal, std::vector<PassedFd> passed);
// Returns what a Create or Exec request says of these descriptors.
protocol::StdioWanted wanted_stdio(const Stdio& stdio);

class Session {
 public:
  // `exec` is empty for the container's first process. `vmm_pidfd` (-1: none) is watched: its end is the session's.
  Session(Fd control, std::string container, std::string exec, int vmm_pidfd);

  // Sends a request and waits for its reply; an error reply is an Error. Gives up with ECANCELED when the other end of
  // `hangup_fd` (-1: none) is closed, and with ECONNRESET when the VM ends.
  template <typename Request>
  Result<typename Request::Reply> request(const Request& request, int timeout_ms, int hangup_fd = -1) {
    return protocol::decode_reply<typename Request::Reply>(
        TRY(request_json(protocol::encode(request), timeout_ms, hangup_fd)));
  }

  // Changes of this terminal's window are passed on. A signal that the kernel sends because the terminal hung up is
  // not: the guest's terminal hangs up too.
  void watch_terminal(Fd terminal) { terminal_ = std::move(terminal); }

  // Sets what is called for each Oom event.
  void on_oom(std::function<void()> handler) { on_oom_ = std::move(handler); }

  // Sets what is called for each Ready event.
  void on_ready(std::function<void()> handler) { on_ready_ = std::move(handler); }

  // Sets what is called once, when `fd` has something to read while run() waits.
  void on_readable(int fd, std::function<void()> handler) {
    other_fd_ = fd;
    on_readable_ = std::move(handler);
  }

  // Gives our stdio to vmm, for the ports of a Created reply. `directory` is the container's.
  Result<void> attach_stdio(int directory, const protocol::StreamPorts& ports, const Stdio& stdio);

  // Forwards the signals that `signal_fd` gives until the process has ended, and waits until its output is written out.
  // The VM's end before that is the process's death by SIGKILL, as it would be under a container whose init dies.
  ProcessExit run(int signal_fd);
  // Whether it was the guest that said how the process ended.
  bool was_told_of_exit() const { return exited_.has_value(); }

 private:
  enum class Wake { message, signal, vm_ended, hangup, other, timeout };

  Wake wait(int signal_fd, int hangup_fd, int timeout_ms);
  Result<bool> read_control();  // false: the connection has ended
  Result<protocol::Json> request_json(const protocol::Json& message, int timeout_ms, int hangup_fd);
  // Returns the next reply; nothing if more bytes are needed. Takes events on the way.
  Result<std::optional<protocol::Json>> next_reply();
  Result<void> attach_output(int directory, int fd, uint32_t port, size_t number);
  Result<void> attach_input(int directory, int fd, uint32_t port);
  void call_on_readable();
  void forward_signal(int signal_fd);
  template <typename Request>
  void tell_guest(Request request);
  void flush(int signal_fd);
  void request_flush();
  bool ask_progress();

  struct Exited {
    ProcessExit exit;
    protocol::Sent sent;
  };
  // Something of ours that vmm writes to.
  struct Output {
    Stream stream;
    size_t number = 0;   // of the process's descriptor
    bool ended = false;  // all is written, or nothing more will be
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
  int other_fd_ = -1;
  std::function<void()> on_readable_;
  std::vector<Stream> inputs_;
  std::vector<Output> outputs_;
};

// All signals that can be caught, blocked and as a descriptor. SIGCHLD of our own children is filtered out by readers.
Result<Fd> take_signals();
struct Signal {
  int number = 0;
  bool from_kernel = false;  // not by kill(2) or its like
};
// The next signal that somebody sent us; none if it was only a child's end.
std::optional<Signal> read_signal(int signal_fd);

// Returns whether the default action of a signal is to end the process (signal(7)).
bool ends_process(int signal);

// Ends this process as the container's process ended: with its status, or by its signal.
[[noreturn]] void end_like(const ProcessExit& exit);

}  // namespace nacre::runtime
