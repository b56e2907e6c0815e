// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/log.h"
#include "guest-init/protocol/messages.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/logging.h"
#include "runtime/guest/connection.h"
#include "runtime/guest/stats/duration.h"
#include "runtime/guest/stats/statistics.h"
#include "runtime/host/resctrl/figures.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using Clock = std::chrono::steady_clock;
using runtime::ContainerDir;

Result<void> print_statistics(const ContainerDir& dir, const std::string& id) {
  auto reply = TRY(runtime::ask_running(dir.fd(), protocol::Statistics{.container = id}));
  nlohmann::ordered_json data = stats::from_guest(reply);
  if (auto group = resctrl::kept(dir)) {
    data["intel_rdt"] = TRY_CONTEXT(resctrl::figures(resctrl::mount_point(), *group), "intelrdt");
  }
  return write_all(STDOUT_FILENO, stats::event_line("stats", id, &data));
}

// Reads the guest's out-of-memory events from a separate connection.
class OomEvents {
 public:
  static Result<OomEvents> watch(const ContainerDir& dir, const std::string& id) {
    Fd socket = TRY(runtime::connect_running(dir.fd()));
    TRY(TRY(runtime::exchange(socket.get(), protocol::Watch{.container = id})));
    return OomEvents(std::move(socket));
  }

  int fd() const { return socket_.get(); }

  // Prints the events that have come. Returns false at the end of the connection.
  Result<bool> print(const std::string& id) {
    std::array<std::byte, 4096> bytes;
    ssize_t n = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n <= 0) return false;
    decoder_.append(std::span(bytes).first(static_cast<size_t>(n)));
    for (;;) {
      protocol::Json event = TRY_CONTEXT(decoder_.next(), "the guest broke the protocol");
      if (event.is_null()) return true;
      if (protocol::type_of(event) == protocol::Oom::kType)
        TRY(write_all(STDOUT_FILENO, stats::event_line("oom", id, nullptr)));
    }
  }

 private:
  explicit OomEvents(Fd socket) : socket_(std::move(socket)) {}
  Fd socket_;
  protocol::Decoder decoder_{protocol::kSmall};
};

int until_ms(Clock::time_point time) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000));
}

// Prints events until the container stops.
Result<void> follow(const ContainerDir& dir, const runtime::Record& record, Clock::duration interval) {
  auto standin = runtime::open_process(record.standin);
  auto ooms = OomEvents::watch(dir, record.id);
  if (!standin || (!ooms && ooms.error().code() == ESRCH)) return {};
  if (!ooms) return std::unexpected(ooms.error());
  keep_log();
  auto next = Clock::now() + interval;
  for (;;) {
    std::array<pollfd, 2> fds{{{ooms->fd(), POLLIN, 0}, {standin->get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), until_ms(next)) < 0) continue;
    if (fds[0].revents != 0 && !TRY(ooms->print(record.id))) return {};
    // What the guest said before its end still counts.
    if (fds[1].revents != 0 && fds[0].revents == 0) return {};
    if (Clock::now() < next) continue;
    auto printed = print_statistics(dir, record.id);
    if (!printed && printed.error().code() == EPIPE) return {};  // the reader has closed the pipe
    if (!printed && printed.error().code() != ESRCH) log_error(printed.error().message());
    next = std::max(next + interval, Clock::now());
  }
}

}  // namespace

Result<int> events(const Globals& globals, const EventsOptions& options) {
  auto interval = TRY_CONTEXT(stats::parse_duration(options.interval), "--interval");
  if (interval.count() <= 0) return fail("duration interval must be greater than 0", EINVAL);
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  runtime::Record record = TRY(dir.read_record());
  if (dir.status(record) == runtime::Status::stopped) {
    return fail("container with id " + options.id + " is not running", ESRCH);
  }
  if (options.stats) {
    TRY(print_statistics(dir, record.id));
  } else {
    TRY(follow(dir, record, std::min<Clock::duration>(interval, std::chrono::hours(24 * 365))));
  }
  return 0;
}

}  // namespace nacre::cmd
