// The host's end of a process's terminal. The terminal proper, with its line discipline and its job control, is in the
// guest; the one on the host carries bytes, and knows the size of the window.
#pragma once

#include <termios.h>

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::runtime {

struct Terminal {
  Fd fd;                   // non-blocking
  bool newlines;           // whether the guest's turns "\n" into "\r\n"
  bool is_pseudo = false;  // a pseudo-terminal of our own making
  // The caller's stdin and stdout, where they are not terminals: then its bytes come from and go to these.
  Fd redirected_in, redirected_out;

  // A new pseudo-terminal, whose master goes to whoever listens on an AF_UNIX socket: runc's --console-socket.
  static Result<Terminal> for_socket(const std::string& path);
  // The one that this command was called from.
  static Result<Terminal> of_caller();

  // Tells the guest of it in a create or exec request. `process` is the OCI process in there.
  void describe(protocol::StdioWanted& wanted, nlohmann::json& process) const;
};

// What a command was asked for must fit together, as with runc: a socket exactly where there is a terminal and nobody
// in the foreground. None where the process has no terminal.
Result<std::optional<Terminal>> open_terminal(const nlohmann::json& process, const std::string& console_socket,
                                              bool foreground);

struct WindowSize {
  uint16_t rows = 0, columns = 0;
};
WindowSize window_size(int terminal);

// The user's terminal passes everything on as it is typed, until this goes away.
class RawMode {
 public:
  static Result<RawMode> enter(int terminal);
  RawMode(RawMode&& other) noexcept : fd_(std::move(other.fd_)), before_(other.before_) {}
  RawMode& operator=(RawMode&&) = delete;
  ~RawMode();

 private:
  RawMode(Fd fd, const termios& before) : fd_(std::move(fd)), before_(before) {}
  Fd fd_;
  termios before_;
};

}  // namespace nacre::runtime
