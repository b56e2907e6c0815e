// Connections of the host to guest-init, through the listening socket that vmm serves in the container's directory.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json_fwd.hpp>

#include "base/fd.h"
#include "base/result.h"

namespace nacre::runtime {

// How long the guest may take to answer a request. Generous: it may be starved of CPU, and nothing waits on this that
// is not itself waiting for the answer.
inline constexpr int kRequestTimeoutMs = 60'000;

// Until then; 0 once it has passed.
int remaining_ms(std::chrono::steady_clock::time_point deadline);

// A listening socket named `name` in `directory`, whose path may be longer than an AF_UNIX address.
Result<Fd> listen_in(int directory, const std::string& name, int type = SOCK_STREAM);
Result<Fd> connect_in(int directory, const std::string& name, int type = SOCK_STREAM);
Result<Fd> connect_to(const std::string& path);

// Reads and writes give up after `timeout_ms`.
Result<void> set_timeouts(int socket, int timeout_ms);

// A connection to guest-init's control port. Reads and writes on it give up after `timeout_ms`.
// ECONNREFUSED or ENOENT where there is no VM any more.
Result<Fd> connect_control(int directory, int timeout_ms = kRequestTimeoutMs);

// One request on a connection of its own. An "error" reply is an Error with the guest's text and errno.
Result<nlohmann::json> ask(int directory, const nlohmann::json& request, int timeout_ms = kRequestTimeoutMs);
// One on a connection that is there, with a reply that may be an "error": for who must know whether the guest answered.
Result<nlohmann::json> exchange(int control, const nlohmann::json& request, int timeout_ms = kRequestTimeoutMs);

// The error (ESRCH) of commands that need a running container: callers look for these words.
inline constexpr const char* kNotRunning = "container not running";

// The same two, where a VM that has ended is that error.
Result<Fd> connect_running(int directory, int timeout_ms = kRequestTimeoutMs);
Result<nlohmann::json> ask_running(int directory, const nlohmann::json& request, int timeout_ms = kRequestTimeoutMs);

// An "error" reply as an Error; other messages unchanged.
Result<nlohmann::json> unwrap(nlohmann::json reply);

// One stdio descriptor, handed to vmm, which moves its bytes itself. The connection stays as the status channel.
class Stream {
 public:
  enum class Direction { to_guest, from_guest };

  static Result<Stream> attach(int directory, uint32_t port, Direction direction, int stdio);

  int fd() const { return channel_.get(); }

  // Asks vmm to tell when `bytes` from the guest's port have been written to the descriptor. vmm closes the channel if
  // that can never be.
  Result<void> request_flush(uint64_t bytes);
  // Asks vmm how far the writing has come.
  Result<void> request_progress();
  // Takes the answers that have come, without blocking.
  void read_answers();
  // Returns whether the answer to request_flush() has come, or the channel has ended.
  bool is_flushed() const { return flushed_; }
  // Returns whether vmm has said, since the last call, that it has written bytes, or that the descriptor takes none.
  bool take_progress() { return std::exchange(progressed_, false); }

 private:
  explicit Stream(Fd channel) : channel_(std::move(channel)) {}
  void take_answer(std::string_view line);

  Fd channel_;
  std::string line_;  // of vmm's answer, so far
  uint64_t written_ = 0;
  bool flushed_ = false;
  bool progressed_ = false;
};

}  // namespace nacre::runtime
