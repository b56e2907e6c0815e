// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/notify_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "guest-init/protocol/protocol.h"

namespace nacre::guest {

namespace {

constexpr size_t kMaxNotification = 4096;

bool has_line(std::string_view text, std::string_view line) {
  while (!text.empty()) {
    std::string_view first = text.substr(0, text.find('\n'));
    if (first == line) return true;
    text.remove_prefix(std::min(text.size(), first.size() + 1));
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<NotifySocket>> NotifySocket::create(EventLoop& loop, const std::string& directory,
                                                           std::function<void()> on_ready) {
  for (const std::string& made : {directory.substr(0, directory.rfind('/')), directory}) {
    if (::mkdir(made.c_str(), 0755) < 0 && errno != EEXIST) return fail_errno("mkdir " + made);
  }
  Fd place = TRY(open_file(directory, O_PATH | O_DIRECTORY));
  std::string path = directory + "/" + protocol::kNotifyName;
  // The path has the container's id, and may be longer than an address.
  std::string name = "/proc/self/fd/" + std::to_string(place.get()) + "/" + protocol::kNotifyName;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  ::unlink(path.c_str());
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) return fail_errno(path);
  // The process may be any user.
  if (::chmod(path.c_str(), 0777) < 0) return fail_errno(path);
  std::unique_ptr<NotifySocket> made(new NotifySocket(loop, std::move(socket), std::move(path)));
  made->on_ready_ = std::move(on_ready);
  TRY(loop.add(made->socket_.get(), EPOLLIN, [raw = made.get()](uint32_t) { raw->on_datagram(); }));
  return made;
}

NotifySocket::~NotifySocket() {
  loop_.remove(socket_.get());
  ::unlink(path_.c_str());
}

void NotifySocket::on_datagram() {
  std::array<char, kMaxNotification> buffer;
  ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (got <= 0 || !on_ready_ || !has_line({buffer.data(), static_cast<size_t>(got)}, "READY=1")) return;
  std::exchange(on_ready_, nullptr)();
}

}  // namespace nacre::guest
