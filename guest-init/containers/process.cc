// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/process.h"

#include <algorithm>
#include <csignal>
#include <utility>

namespace nacre::guest {

namespace {

// Returns whether the default action of a signal is to end the process (signal(7)).
bool ends_a_process(int signal) {
  constexpr int kOthers[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
  return signal != 0 && std::find(std::begin(kOthers), std::end(kOthers), signal) == std::end(kOthers);
}

uint64_t sent_on(const std::unique_ptr<Stream>& stream) {
  return stream ? stream->sent() : 0;
}

}  // namespace

template <typename Visit>
void Process::for_each_stream(Visit visit) const {
  auto look = [&](const std::unique_ptr<Stream>& stream) {
    if (stream) visit(*stream);
  };
  look(stdio.in);
  look(stdio.out);
  look(stdio.err);
  for (const Descriptor& descriptor : passed) {
    look(descriptor.input);
    look(descriptor.output);
  }
}

bool Process::is_drained() const {
  bool drained = true;
  for_each_stream([&](const Stream& stream) { drained = drained && stream.is_drained(); });
  return drained;
}

Result<void> Process::watch(EventLoop& loop, std::function<void()> on_message) {
  return loop.add(control.get(), EPOLLIN, [on_message = std::move(on_message)](uint32_t) { on_message(); });
}

void Process::stop_watching(EventLoop& loop) {
  if (control) loop.remove(control.get());
  control.reset();
}

Result<void> Process::add_terminal(Fd master, const SpawnContext& context) {
  auto carry = [&](Stream::Direction direction) -> Result<std::unique_ptr<Stream>> {
    return Stream::create(context.loop, context.transport, direction, TRY(master.dup()), context.on_stream_change);
  };
  stdio.in = TRY(carry(Stream::Direction::to_process));
  stdio.out = TRY(carry(Stream::Direction::from_process));
  terminal = std::move(master);
  return {};
}

void Process::take_messages(const SpawnContext& context, const Reply& reply) {
  auto answer = [&](const Json& message) { reply(std::exchange(requester, kNoConnection), message); };
  while (control) {
    auto message = receive_child_message(control.get());
    if (!message) return;
    if (message->terminal && state == State::setting_up) {
      auto added = add_terminal(std::move(message->terminal), context);
      if (!added) {
        setup_error = added.error();
        ::kill(pid, SIGKILL);  // its end gives the reply
        return;
      }
    } else if (message->ready && state == State::setting_up) {
      state = State::created;
      for_each_stream([](Stream& stream) { stream.expect_connection(); });
      answer(protocol::encode(protocol::Created{.pid = pid, .streams = ports(), .warnings = std::move(warnings)}));
    } else if (message->error && state == State::starting) {
      state = State::running;  // for the short time until it has exited
      answer(protocol::encode(protocol::ErrorReply::from(*message->error)));
    } else if (message->error) {
      setup_error = std::move(message->error);  // is replied when the child is gone
    } else if (message->end) {
      stop_watching(context.loop);
      if (state != State::starting) continue;
      state = State::running;
      answer(protocol::encode(protocol::Ok{}));
    }
  }
}

Result<void> Process::let_go(ConnectionId connection) {
  if (!is_alive()) return fail("process already finished", ESRCH);
  if (state != State::created) return fail("process is already started", EINVAL);
  if (fatal_signal != 0 || !send_go(control.get())) return fail("process already finished", ESRCH);
  state = State::starting;
  requester = connection;
  return {};
}

Result<int> Process::kill(int signal) {
  if (state == State::created && ends_a_process(signal)) {
    // As the first process of its pid namespace it would not see a signal that it has no handler for. It dies of
    // SIGKILL, and is reported to have died of the signal that was asked for.
    fatal_signal = signal;
    signal = SIGKILL;
  }
  if (::kill(pid, signal) == 0) return signal;
  if (errno == ESRCH) return fail("process already finished", ESRCH);
  return fail_errno("kill");
}

void Process::exited(ExitStatus status, bool out_of_memory) {
  bool was_setting_up = state == State::setting_up;
  state = State::exited;
  exit = status;
  if (fatal_signal != 0 && status.signal == SIGKILL) exit.signal = fatal_signal;
  if (was_setting_up && !setup_error) {
    std::string words = "process died while it was set up";
    if (status.signal != 0) {
      words = "process was killed by signal " + std::to_string(status.signal) + " while it was set up (out of memory?)";
    }
    if (is_first() && out_of_memory) words = "container init was OOM-killed (memory limit too low?)";
    setup_error.emplace(std::move(words), ECHILD);
  }
  for_each_stream([](Stream& stream) { stream.process_exited(); });
}

void Process::check_terminal() {
  if (!terminal || !is_alive()) return;
  if (!(hangs_up && stdio.in->is_finished()) && !stdio.out->is_finished()) return;
  stdio.in->abort();
  stdio.out->abort();
  terminal.reset();
}

void Process::abort_streams() {
  for_each_stream([](Stream& stream) { stream.abort(); });
}

std::vector<std::unique_ptr<Stream>> Process::take_unfinished_outputs() {
  std::vector<std::unique_ptr<Stream>> outputs;
  auto take = [&](std::unique_ptr<Stream>& stream) {
    if (stream && !stream->is_finished()) outputs.push_back(std::move(stream));
  };
  take(stdio.out);
  take(stdio.err);
  for (Descriptor& descriptor : passed) take(descriptor.output);
  return outputs;
}

protocol::StreamPorts Process::ports() const {
  auto port = [](const std::unique_ptr<Stream>& stream) {
    return stream ? std::optional(stream->port()) : std::nullopt;
  };
  protocol::StreamPorts ports{.in = port(stdio.in), .out = port(stdio.out), .err = port(stdio.err)};
  for (const Descriptor& descriptor : passed) {
    ports.passed.push_back({.in = port(descriptor.input).value_or(0), .out = port(descriptor.output).value_or(0)});
  }
  return ports;
}

protocol::Sent Process::sent() const {
  protocol::Sent sent{.out = sent_on(stdio.out), .err = sent_on(stdio.err)};
  for (const Descriptor& descriptor : passed) sent.passed.push_back(sent_on(descriptor.output));
  return sent;
}

protocol::Exited Process::exit_event() const {
  protocol::Exited event{.container = container, .exit = exit, .sent = sent()};
  if (!is_first()) event.exec = exec;
  return event;
}

}  // namespace nacre::guest
