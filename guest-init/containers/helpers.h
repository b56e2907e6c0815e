// SPDX-License-Identifier: Apache-2.0
// Work that may block, each piece in a process of its own: reading /proc of a process that hangs, or setting a memory
// limit that the kernel first has to make true. The event loop does not wait for it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

class Helpers {
 public:
  using Json = protocol::Json;
  // Called from the loop with the helper's reply, or with an error if it gave none.
  using Done = std::function<void(const Json& reply)>;

  // A helper that hangs is killed after `max_seconds`.
  Helpers(EventLoop& loop, unsigned max_seconds) : loop_(loop), max_seconds_(max_seconds) {}
  ~Helpers();
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  // Forks a helper, which calls `work` and ends. The helper is a copy of this process without its descriptors, so
  // `work` may refer to anything that lives now, and must find files by their paths. What it returns, a reply or a
  // Result of one, is the helper's reply.
  template <typename Work>
  Result<void> run_in_fork(const Work& work, Done done) {
    bool is_helper = TRY(fork_helper(std::move(done)));
    if (is_helper) give_reply(protocol::encode_outcome(work()));
    return {};
  }

 private:
  struct Running {
    Fd pipe;
    std::string text;
    Done done;
  };

  // Returns true in the helper.
  Result<bool> fork_helper(Done done);
  [[noreturn]] static void give_reply(const Json& reply);
  void read_from(int pipe);

  EventLoop& loop_;
  const unsigned max_seconds_;
  std::map<int, Running> running_;  // by the descriptor of the pipe
};

}  // namespace nacre::guest
