// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/signal_names.h"

#include <signal.h>

#include <array>
#include <charconv>
#include <string>

namespace nacre::runtime {

namespace {

struct Name {
  std::string_view name;
  int number;
};

constexpr int kLastSignal = 64;

constexpr std::array kNames = {
    Name{"HUP", SIGHUP},       Name{"INT", SIGINT},     Name{"QUIT", SIGQUIT}, Name{"ILL", SIGILL},
    Name{"TRAP", SIGTRAP},     Name{"ABRT", SIGABRT},   Name{"IOT", SIGIOT},   Name{"BUS", SIGBUS},
    Name{"FPE", SIGFPE},       Name{"KILL", SIGKILL},   Name{"USR1", SIGUSR1}, Name{"SEGV", SIGSEGV},
    Name{"USR2", SIGUSR2},     Name{"PIPE", SIGPIPE},   Name{"ALRM", SIGALRM}, Name{"TERM", SIGTERM},
    Name{"STKFLT", SIGSTKFLT}, Name{"CHLD", SIGCHLD},   Name{"CLD", SIGCHLD},  Name{"CONT", SIGCONT},
    Name{"STOP", SIGSTOP},     Name{"TSTP", SIGTSTP},   Name{"TTIN", SIGTTIN}, Name{"TTOU", SIGTTOU},
    Name{"URG", SIGURG},       Name{"XCPU", SIGXCPU},   Name{"XFSZ", SIGXFSZ}, Name{"VTALRM", SIGVTALRM},
    Name{"PROF", SIGPROF},     Name{"WINCH", SIGWINCH}, Name{"IO", SIGIO},     Name{"POLL", SIGPOLL},
    Name{"PWR", SIGPWR},       Name{"SYS", SIGSYS},
};

}  // namespace

Result<int> parse_signal(std::string_view text) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 0 && number <= kLastSignal) return number;
  std::string name;
  for (char c : text) name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (const Name& known : kNames) {
    if (known.name == name) return known.number;
  }
  return fail("unknown signal \"" + std::string(text) + "\"", EINVAL);
}

}  // namespace nacre::runtime
