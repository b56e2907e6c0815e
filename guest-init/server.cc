// SPDX-License-Identifier: Apache-2.0
#include "guest-init/server.h"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/log.h"

namespace nacre::guest {

namespace {

using Answer = ContainerTable::Answer;

template <typename Request>
using Handler = Answer (ContainerTable::*)(ConnectionId, Request);

template <typename Request, Handler<Request> handler>
Answer handle(ContainerTable& table, ConnectionId connection, const Json& message) {
  return (table.*handler)(connection, TRY(protocol::decode<Request>(message)));
}

struct RequestEntry {
  std::string_view type;
  Answer (*handle)(ContainerTable&, ConnectionId, const Json&);
};

template <typename Request, Handler<Request> handler>
constexpr RequestEntry entry() {
  return {Request::kType, handle<Request, handler>};
}

constexpr RequestEntry kRequests[] = {
    entry<protocol::Create, &ContainerTable::create>(),
    entry<protocol::Start, &ContainerTable::start>(),
    entry<protocol::Exec, &ContainerTable::exec>(),
    entry<protocol::Release, &ContainerTable::release>(),
    entry<protocol::Kill, &ContainerTable::kill>(),
    entry<protocol::Resize, &ContainerTable::resize>(),
    entry<protocol::State, &ContainerTable::state>(),
    entry<protocol::Delete, &ContainerTable::remove>(),
    entry<protocol::Pause, &ContainerTable::pause>(),
    entry<protocol::Resume, &ContainerTable::resume>(),
    entry<protocol::Processes, &ContainerTable::processes>(),
    entry<protocol::Procfs, &ContainerTable::procfs>(),
    entry<protocol::Statistics, &ContainerTable::statistics>(),
    entry<protocol::Watch, &ContainerTable::watch>(),
    entry<protocol::Update, &ContainerTable::update>(),
    entry<protocol::Mount, &ContainerTable::mount>(),
    entry<protocol::Unmount, &ContainerTable::unmount>(),
};

const RequestEntry* find_request(std::string_view type) {
  for (const auto& entry : kRequests) {
    if (entry.type == type) return &entry;
  }
  return nullptr;
}

}  // namespace

Server::Server(EventLoop& loop, Transport& transport, TableConfig config)
    : loop_(loop),
      transport_(transport),
      table_(loop, transport, std::move(config),
             Outlet{.reply =
                        [this](ConnectionId id, const Json& message) {
                          auto found = connections_.find(id);
                          if (found != connections_.end()) found->second->reply(message);
                        },
                    .event =
                        [this](ConnectionId id, const Json& message) {
                          auto found = connections_.find(id);
                          if (found != connections_.end()) found->second->send_event(message);
                        }}) {}

Server::~Server() {
  if (listener_.fd) loop_.remove(listener_.fd.get());
  if (child_signal_) loop_.remove(child_signal_.get());
}

Result<std::unique_ptr<Server>> Server::create(EventLoop& loop, Transport& transport, TableConfig config) {
  std::unique_ptr<Server> server(new Server(loop, transport, std::move(config)));
  TRY(server->watch_children());
  TRY_CONTEXT(server->listen(), "control port");
  return server;
}

Result<void> Server::listen() {
  listener_ = TRY(transport_.listen(protocol::kControlPort));
  return loop_.add(listener_.fd.get(), EPOLLIN, [this](uint32_t) { on_listener(); });
}

Result<void> Server::watch_children() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &child, nullptr) < 0) return fail_errno("sigprocmask");
  child_signal_ = Fd(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!child_signal_) return fail_errno("signalfd");
  return loop_.add(child_signal_.get(), EPOLLIN, [this](uint32_t) { reap(); });
}

void Server::reap() {
  signalfd_siginfo ignored;  // signals of one kind merge: only waitid knows how many ended
  while (::read(child_signal_.get(), &ignored, sizeof(ignored)) > 0) {
  }
  for (;;) {
    // The process is reaped after its end was handled: until then no other process can have the pid.
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) break;
    bool exited = info.si_code == CLD_EXITED;
    table_.on_exit(info.si_pid,
                   ExitStatus{.status = exited ? info.si_status : 0, .signal = exited ? 0 : info.si_status});
    ::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
  }
  table_.on_reaped();
}

void Server::on_listener() {
  Fd socket = transport_.accept(listener_);
  if (!socket) return;
  auto added = add_connection(std::move(socket));
  if (!added) log_warn("control connection: " + added.error().message());
}

Result<void> Server::add_primary(Fd socket, std::function<void()> on_end) {
  primary_ = TRY(add_connection(std::move(socket)));
  on_end_ = std::move(on_end);
  return {};
}

Result<ConnectionId> Server::add_connection(Fd socket) {
  ConnectionId id = next_connection_++;
  connections_[id] = TRY(Connection::create(
      loop_, std::move(socket), [this, id](const Json& request) { on_request(id, request); },
      [this, id] { on_close(id); }));
  return id;
}

void Server::on_close(ConnectionId connection) {
  table_.on_connection_closed(connection);
  if (connection == primary_) primary_ = kNoConnection;
  if (primary_ == kNoConnection && on_end_ && !table_.is_in_use()) on_end_();
  // The connection's own function is still on the stack.
  loop_.post(alive_.guard([this, connection] { connections_.erase(connection); }));
}

ContainerTable::Answer Server::dispatch(ConnectionId connection, const Json& request) {
  const RequestEntry* entry = find_request(protocol::type_of(request));
  if (entry == nullptr) {
    connections_[connection]->refuse("unknown request");
    return std::nullopt;
  }
  return entry->handle(table_, connection, request);
}

void Server::on_request(ConnectionId connection, const Json& request) {
  auto answer = dispatch(connection, request);
  if (answer && !*answer) return;
  Json reply = answer ? std::move(**answer) : protocol::encode(protocol::ErrorReply::from(answer.error()));
  connections_[connection]->reply(reply);
}

}  // namespace nacre::guest
