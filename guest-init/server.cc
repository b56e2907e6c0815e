#include "guest-init/server.h"

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/log.h"

namespace nacre::guest {

namespace {

struct RequestEntry {
  std::string_view type;
  ContainerTable::Answer (ContainerTable::*handler)(ConnectionId, const Json&);
};

constexpr RequestEntry kRequests[] = {
    {"create", &ContainerTable::create},
    {"start", &ContainerTable::start},
    {"exec", &ContainerTable::exec},
    {"release", &ContainerTable::release},
    {"kill", &ContainerTable::kill},
    {"resize", &ContainerTable::resize},
    {"state", &ContainerTable::state},
    {"delete", &ContainerTable::remove},
    {"pause", &ContainerTable::pause},
    {"resume", &ContainerTable::resume},
    {"processes", &ContainerTable::processes},
    {"procfs", &ContainerTable::procfs},
    {"statistics", &ContainerTable::statistics},
    {"watch", &ContainerTable::watch},
    {"update", &ContainerTable::update},
    {"mount", &ContainerTable::mount},
    {"unmount", &ContainerTable::unmount},
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
  *alive_ = false;
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
    // Looked at first and reaped after: until then nobody else can have the pid.
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
  // Its own call is still on the stack.
  loop_.post([this, alive = alive_, connection] {
    if (*alive) connections_.erase(connection);
  });
}

ContainerTable::Answer Server::dispatch(ConnectionId connection, const Json& request) {
  std::string type = TRY(protocol::string_field(request, "type"));
  const RequestEntry* entry = find_request(type);
  if (entry == nullptr) {
    connections_[connection]->refuse("unknown request");
    return std::nullopt;
  }
  return (table_.*entry->handler)(connection, request);
}

void Server::on_request(ConnectionId connection, const Json& request) {
  auto answer = dispatch(connection, request);
  if (answer && !*answer) return;
  Json reply = answer ? std::move(**answer) : protocol::error_message(answer.error().message(), answer.error().code());
  connections_[connection]->reply(reply);
}

}  // namespace nacre::guest
