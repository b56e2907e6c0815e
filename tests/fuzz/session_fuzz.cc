// SPDX-License-Identifier: Apache-2.0
// Fuzzes the host's end of the guest protocol: what a hostile guest says on the connection of a stand-in and on that of
// a command.
//
// An input is a list of messages, each with a kind: one of those below, with a number of the input's in it, or any text
// in a frame, or any bytes. The guest says all of it at once and is gone. Both ends then come to an end, with a status
// that a process can have, and with words that are short and fit for a terminal.
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <thread>

#include "base/printable.h"
#include "runtime/container/standin/session.h"
#include "tests/fuzz/answer.h"

namespace {

using namespace nacre;
using namespace nacre::runtime;

constexpr size_t kMaxMessages = 200, kMaxBytes = 200 << 10, kMaxWords = 8192;
constexpr int kPatience = 20'000;  // milliseconds; a guest that is gone is not waited for

// '#' stands for a number of the input's.
constexpr const char* kMessages[] = {
    R"({"type":"ok"})",
    R"({"type":"oom","container":"c"})",
    R"({"type":"ready","container":"c"})",
    R"({"type":"exited","container":"c","status":#,"signal":0,"sent":{"stdout":0,"stderr":0}})",
    R"({"type":"exited","container":"c","status":0,"signal":#,"sent":{"stdout":#,"stderr":#}})",
    R"({"type":"error","message":"\u001b[2J\u202e","code":#})",
    R"({"type":"created","pid":#,"streams":{"stdin":#,"stdout":#,"passed":[{"in":#,"out":1}]}})",
    R"({"type":"state","status":"running","pid":#})",
    R"({"type":"processes","hertz":100,"page":4096,"uptime":#,"memory":1,"processes":[]})",
    R"({"type":"procfs","machine":{},"processes":{"#":{"files":{},"namespaces":{}}}})",
    R"({"type":"statistics","files":{"cpu.stat":"usage_usec #"}})",
    R"({"type":#})",
};

std::string take_message(fuzz::Input& input) {
  size_t kind = input.take<uint8_t>() % (std::size(kMessages) + 3);
  if (kind == std::size(kMessages)) return fuzz::framed(input.short_text());
  if (kind == std::size(kMessages) + 1) return input.short_text();
  if (kind == std::size(kMessages) + 2) {
    // An error with a long text.
    std::string words(size_t{input.take<uint8_t>()} * 200, static_cast<char>('a' + input.take<uint8_t>() % 26));
    return fuzz::framed(R"({"type":"error","code":5,"message":")" + words + "\"}");
  }
  std::string text;
  for (char c : std::string_view(kMessages[kind])) {
    text += c == '#' ? std::to_string(input.take<uint8_t>() & 1 ? input.take<int64_t>() : input.take<uint8_t>())
                     : std::string(1, c);
  }
  return fuzz::framed(text);
}

// Looks at an error as it is shown: log lines and messages to users go through one_line().
void check_error(const Error& error) {
  fuzz::check(error.message().size() <= kMaxWords, "a guest's error is as long as it likes");
  std::string shown = one_line(error.message());
  fuzz::check(fuzz::is_utf8(shown) && printable(shown, '?') == shown, "a guest's error reaches a terminal as it is");
}

// Connects to a guest that says all this and is gone.
Fd guest_that_says(const std::string& text) {
  auto [ours, theirs] = make_socketpair(SOCK_STREAM).value();
  int size = 1 << 20;
  (void)::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  fuzz::check(write_all(theirs.get(), text).has_value(), "the guest cannot speak");
  (void)::shutdown(theirs.get(), SHUT_WR);
  // Whoever asks it something may still send: a thread would have to read for ever, and the socket's buffer will do.
  static Fd kept;
  kept = std::move(theirs);
  return std::move(ours);
}

template <typename Request>
void ask(Session& session, const Request& request) {
  auto reply = session.request(request, kPatience);
  if (!reply) check_error(reply.error());
}

void try_standin(const std::string& said, fuzz::Input& input, size_t messages) {
  Session session(guest_that_says(said), "c", "", -1);
  size_t events = 0;
  session.on_oom([&] { events++; });
  session.on_ready([&] { events++; });
  for (auto asked = input.take<uint8_t>() % 4; asked > 0; asked--) {
    switch (input.take<uint8_t>() % 3) {
      case 0:
        ask(session, protocol::Start{.container = "c"});
        break;
      case 1:
        ask(session, protocol::Release{.container = "c", .exec = "e"});
        break;
      default:
        ask(session, protocol::Create{.container = "c", .config = protocol::Json::object()});
    }
  }
  ProcessExit exit = session.run(-1);
  fuzz::check(exit.status >= 0 && exit.status <= 255, "a process ends with a status that there is not");
  fuzz::check(exit.signal == 0 || ends_process(exit.signal), "a process ends by a signal that ends none");
  fuzz::check(session.was_told_of_exit() || exit.signal == SIGKILL, "a process ends and nobody has said so");
  fuzz::check(events <= messages + said.size() / 8, "there are more events than messages");
}

template <typename Request>
void try_command(const std::string& said, const Request& request) {
  Fd guest = guest_that_says(said);
  auto reply = exchange(guest.get(), request, kPatience);
  if (!reply) return check_error(reply.error());
  if (!*reply) check_error(reply->error());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  auto how = input.take<uint8_t>();
  fuzz::Input questions = input;
  std::string said;
  size_t messages = 0;
  for (; messages < kMaxMessages && said.size() < kMaxBytes && !input.empty(); messages++) said += take_message(input);
  switch (how % 6) {
    case 0:
      try_command(said, protocol::State{.container = "c"});
      break;
    case 1:
      try_command(said, protocol::Processes{.container = "c"});
      break;
    case 2:
      try_command(said, protocol::Statistics{.container = "c"});
      break;
    default:
      try_standin(said, questions, messages);
  }
  return 0;
}
