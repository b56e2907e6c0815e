// Work that may block, each in a process of its own: /proc of a process that hangs, or a memory limit that the kernel
// first has to make true. The event loop waits for none of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/protocol.h"

namespace nacre::guest {

class Helpers {
 public:
  using Json = protocol::Json;
  // Runs in the helper, a copy of this process without its descriptors (paths only), and gives the reply.
  using Work = std::function<Json()>;
  // Called from the loop with that reply, or with an error where there is none.
  using Done = std::function<void(const Json& reply)>;

  // A helper that hangs goes after `max_seconds`.
  Helpers(EventLoop& loop, unsigned max_seconds) : loop_(loop), max_seconds_(max_seconds) {}
  ~Helpers();
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  Result<void> start(const Work& work, Done done);

 private:
  struct Running {
    Fd pipe;
    std::string text;
    Done done;
  };

  void read_from(int pipe);

  EventLoop& loop_;
  const unsigned max_seconds_;
  std::map<int, Running> running_;  // by the descriptor of the pipe
};

}  // namespace nacre::guest
