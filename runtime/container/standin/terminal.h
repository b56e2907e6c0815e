// SPDX-License-Identifier: Apache-2.0
// The host's end of a process's terminal. The terminal proper, with its line discipline and its job control, is in the
// guest. The terminal on the host carries bytes and knows the size of the window.
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
  bool newlines;           // true: the guest's terminal turns "\n" into "\r\n"
  bool is_pseudo = false;  // a pseudo-terminal that this program has made
  // The caller's stdin and stdout if they are not terminals. Input is then read from here, and output written here.
  Fd redirected_in, redirected_out;

  // Makes a pseudo-terminal, and sends its master to the listener on an AF_UNIX socket (runc's --console-socket).
  static Result<Terminal> for_socket(const std::string& path);
  // Opens the terminal that this command was called from.
  static Result<Terminal> of_caller();

  // Describes the terminal to the guest in a create or exec request. `process` is the OCI process of the request.
  void describe(protocol::StdioWanted& wanted, nlohmann::json& process) const;
};

// Opens the terminal of a process, or returns nothing if the process has none. As under runc, a console socket is
// needed if the process has a terminal and does not run in the foreground, and refused in all other cases.
Result<std::optional<Terminal>> open_terminal(const nlohmann::json& process, const std::string& console_socket,
                                              bool foreground);

struct WindowSize {
  uint16_t rows = 0, columns = 0;
};
WindowSize window_size(int terminal);

// Keeps the user's terminal in raw mode for the lifetime of the object: everything typed is passed on at once.
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
