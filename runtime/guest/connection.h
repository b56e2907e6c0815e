// SPDX-License-Identifier: Apache-2.0
// Connects to guest-init, through the listening socket that vmm serves in the container's directory, and sends
// requests.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::runtime {

class ContainerDir;
struct ProcessId;

// How long the guest may take to answer a request. The time is long, because the guest may be starved of CPU, and only
// the caller waits for the answer.
inline constexpr int kRequestTimeoutMs = 60'000;

// Returns the time until `deadline`; 0 once it has passed.
int remaining_ms(std::chrono::steady_clock::time_point deadline);

// Make a listening socket named `name` in `directory`, or connect to it. The directory's path may be longer than an
// AF_UNIX address.
Result<Fd> listen_in(int directory, const std::string& name, int type = SOCK_STREAM);
Result<Fd> connect_in(int directory, const std::string& name, int type = SOCK_STREAM);
Result<Fd> connect_to(const std::string& path);

// Makes reads and writes give up after `timeout_ms`.
Result<void> set_timeouts(int socket, int timeout_ms);

// Connects to guest-init's control port. Reads and writes on the connection give up after `timeout_ms`. Fails with
// ECONNREFUSED or ENOENT if the VM has ended.
Result<Fd> connect_control(int directory, int timeout_ms = kRequestTimeoutMs);

// Returns whether a connection to the VM may have failed with this code because the VM has ended.
bool may_be_vm_end(int code);

// Returns why the VM ended: the container's stand-in notes that before it ends itself, so this waits some seconds for
// its end. Returns "" if the VM has not ended, or ended because the container did. Takes a pidfd of the stand-in, which
// is invalid if the stand-in had ended already, or opens one.
std::string why_vm_ended(const ContainerDir& dir, const ProcessId& standin);
std::string why_vm_ended(const ContainerDir& dir, const Fd& standin);

// Returns `result` of a connection to the VM. If it is an error because the VM has ended, the error says why.
// `standin` is as for why_vm_ended().
template <typename T, typename Standin>
Result<T> explained(Result<T> result, const ContainerDir& dir, const Standin& standin) {
  if (result || !may_be_vm_end(result.error().code())) return result;
  std::string why = why_vm_ended(dir, standin);
  return why.empty() ? std::move(result) : fail(std::move(why), ECONNRESET);
}

// Send a request and wait for its reply, which must be within `limits` of bytes and values. exchange_json() uses an
// open connection and returns the reply as it is. ask_json() makes a connection of its own. ask_running_json() also
// reports kNotRunning if the VM has ended. Callers use the typed functions below.
Result<protocol::Json> exchange_json(int control, const protocol::Json& request, protocol::Limits limits,
                                     int timeout_ms);
Result<protocol::Json> ask_json(int directory, const protocol::Json& request, protocol::Limits limits, int timeout_ms);
Result<protocol::Json> ask_running_json(int directory, const protocol::Json& request, protocol::Limits limits,
                                        int timeout_ms);

// Sends one request on a connection of its own. An error reply is an Error with the guest's text and errno.
template <typename Request>
Result<typename Request::Reply> ask(int directory, const Request& request, int timeout_ms = kRequestTimeoutMs) {
  using Reply = typename Request::Reply;
  return protocol::decode_reply<Reply>(TRY(ask_json(directory, protocol::encode(request), Reply::kLimits, timeout_ms)));
}

// Sends one request over an open connection. The inner Result is the guest's answer, so that the caller can tell a
// refusal from no answer.
template <typename Request>
Result<Result<typename Request::Reply>> exchange(int control, const Request& request,
                                                 int timeout_ms = kRequestTimeoutMs) {
  using Reply = typename Request::Reply;
  return protocol::decode_reply<Reply>(
      TRY(exchange_json(control, protocol::encode(request), Reply::kLimits, timeout_ms)));
}

// The error (ESRCH) of commands that need a running container: callers look for these words.
inline constexpr const char* kNotRunning = "container not running";

// Like connect_control() and ask(), but report kNotRunning if the VM has ended.
Result<Fd> connect_running(int directory, int timeout_ms = kRequestTimeoutMs);
template <typename Request>
Result<typename Request::Reply> ask_running(int directory, const Request& request, int timeout_ms = kRequestTimeoutMs) {
  using Reply = typename Request::Reply;
  return protocol::decode_reply<Reply>(
      TRY(ask_running_json(directory, protocol::encode(request), Reply::kLimits, timeout_ms)));
}

// A stdio descriptor that vmm has been given. vmm moves its bytes. The connection stays open as the status channel.
class Stream {
 public:
  enum class Direction { to_guest, from_guest };

  static Result<Stream> attach(int directory, uint32_t port, Direction direction, int stdio);

  int fd() const { return channel_.get(); }

  // Asks vmm to report when `bytes` from the guest's port have been written to the descriptor. vmm closes the channel
  // if that can never be.
  Result<void> request_flush(uint64_t bytes);
  // Asks vmm how many bytes are written.
  Result<void> request_progress();
  // Reads vmm's answers without blocking.
  void read_answers();
  // Returns true once request_flush() is answered, or the channel has ended.
  bool is_flushed() const { return flushed_; }
  // Returns true if vmm has reported, since the last call, that it has written bytes or that the descriptor accepts
  // none.
  bool take_progress() { return std::exchange(progressed_, false); }

 private:
  explicit Stream(Fd channel) : channel_(std::move(channel)) {}
  void take_answer(std::string_view line);

  Fd channel_;
  std::string line_;  // what has been read of vmm's answer
  uint64_t written_ = 0;
  bool flushed_ = false;
  bool progressed_ = false;
};

}  // namespace nacre::runtime
