// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <span>
#include <utility>

#include "runtime/guest/connection.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

Result<void> make_raw(int terminal) {
  termios settings;
  if (::tcgetattr(terminal, &settings) < 0) return fail_errno("tcgetattr");
  ::cfmakeraw(&settings);
  if (::tcsetattr(terminal, TCSANOW, &settings) < 0) return fail_errno("tcsetattr");
  return {};
}

// Opens the terminal again, because O_NONBLOCK on the caller's open file description would affect everybody who shares
// it.
Result<Fd> reopen(int terminal) {
  return open_file("/proc/self/fd/" + std::to_string(terminal), O_RDWR | O_NOCTTY | O_NONBLOCK);
}

}  // namespace

Result<Terminal> Terminal::for_socket(const std::string& path) {
  Fd socket = TRY_CONTEXT(connect_to(path), "--console-socket");
  Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master) return fail_errno("open a pseudo-terminal");
  std::array<char, 128> name;
  if (::unlockpt(master.get()) < 0 || ::ptsname_r(master.get(), name.data(), name.size()) != 0) {
    return fail_errno("unlock a pseudo-terminal");
  }
  Fd slave(::ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!slave) return fail_errno("open a pseudo-terminal");
  TRY(make_raw(slave.get()));
  std::string_view text(name.data());
  TRY_CONTEXT(send_with_fds(socket.get(), std::as_bytes(std::span(text)), std::array{master.get()}),
              "--console-socket");
  return Terminal{
      .fd = std::move(slave), .newlines = true, .is_pseudo = true, .redirected_in = {}, .redirected_out = {}};
}

Result<Terminal> Terminal::of_caller() {
  Terminal terminal{.fd = {}, .newlines = false, .redirected_in = {}, .redirected_out = {}};
  for (int fd : {STDERR_FILENO, STDOUT_FILENO, STDIN_FILENO}) {
    if (!terminal.fd && ::isatty(fd) == 1) terminal.fd = TRY(reopen(fd));
  }
  if (!terminal.fd) {
    auto controlling = open_file("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (!controlling) {
      return fail("cannot allocate tty: neither stdin, stdout or stderr nor /dev/tty is a terminal", ENOTTY);
    }
    terminal.fd = std::move(*controlling);
  }
  for (auto [fd, redirected] :
       {std::pair(STDIN_FILENO, &terminal.redirected_in), std::pair(STDOUT_FILENO, &terminal.redirected_out)}) {
    if (::isatty(fd) == 1) continue;
    *redirected = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!*redirected) return fail_errno("dup");
  }
  return terminal;
}

void Terminal::describe(protocol::StdioWanted& wanted, Json& process) const {
  wanted.newlines = newlines;
  wanted.hangs_up = !redirected_in;
  WindowSize size = window_size(fd.get());
  if (size.rows != 0 && size.columns != 0 && !process.contains("consoleSize")) {
    process["consoleSize"] = {{"height", size.rows}, {"width", size.columns}};
  }
}

Result<std::optional<Terminal>> open_terminal(const Json& process, const std::string& console_socket, bool foreground) {
  if (!process.value("terminal", false)) {
    if (console_socket.empty()) return std::nullopt;
    return fail("cannot use console socket if the process has no terminal", EINVAL);
  }
  if (foreground) {
    if (!console_socket.empty()) return fail("cannot use console socket if nacre will not detach", EINVAL);
    return TRY(Terminal::of_caller());
  }
  if (console_socket.empty()) {
    return fail("cannot allocate tty if nacre will detach without setting console socket", EINVAL);
  }
  return TRY(Terminal::for_socket(console_socket));
}

WindowSize window_size(int terminal) {
  winsize size{};
  if (::ioctl(terminal, TIOCGWINSZ, &size) < 0) return {};
  return {.rows = size.ws_row, .columns = size.ws_col};
}

Result<RawMode> RawMode::enter(int terminal) {
  Fd fd(::fcntl(terminal, F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail_errno("dup");
  termios before;
  if (::tcgetattr(fd.get(), &before) < 0) return fail_errno("tcgetattr");
  RawMode mode(std::move(fd), before);
  TRY(make_raw(terminal));
  // The user's terminal translates "\n", as under runc, because this program's messages appear there too.
  termios settings;
  if (::tcgetattr(terminal, &settings) < 0) return fail_errno("tcgetattr");
  settings.c_oflag |= OPOST;
  if (::tcsetattr(terminal, TCSANOW, &settings) < 0) return fail_errno("tcsetattr");
  return mode;
}

RawMode::~RawMode() {
  if (fd_) ::tcsetattr(fd_.get(), TCSANOW, &before_);
}

}  // namespace nacre::runtime
