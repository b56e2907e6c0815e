// SPDX-License-Identifier: Apache-2.0
#include "guest-init/child/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>

namespace nacre::guest {

namespace {

constexpr size_t kMaxMessage = 4096;

struct Header {
  char kind;  // 'T', 'R' or 'E'
  int code;
};

// Uses write(2), which a seccomp filter is not likely to forbid.
void put(int control, Header header, std::string_view text) {
  std::string message(sizeof(header), '\0');
  std::memcpy(message.data(), &header, sizeof(header));
  message += text.substr(0, kMaxMessage);
  // If guest-init is gone, so is the machine, and nobody is left to be told.
  [[maybe_unused]] ssize_t n = ::write(control, message.data(), message.size());
}

}  // namespace

Result<void> report_terminal(int control, int master) {
  Header header{'T', 0};
  return send_with_fds(control, std::as_bytes(std::span(&header, 1)), std::span(&master, 1));
}

void report_ready(int control) {
  put(control, Header{'R', 0}, "");
}

void report_error(int control, const Error& error) {
  put(control, Header{'E', error.code()}, error.message());
}

bool wait_for_go(int control) {
  char go;
  ssize_t n;
  do {
    n = ::read(control, &go, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

bool send_go(int control) {
  return ::send(control, "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

std::optional<ChildMessage> receive_child_message(int control) {
  std::array<char, sizeof(Header) + kMaxMessage> buffer;
  auto received = receive_with_fds(control, std::as_writable_bytes(std::span(buffer)), MSG_DONTWAIT);
  if (!received && received.error().code() == EAGAIN) return std::nullopt;
  size_t n = received ? received->size : 0;
  ChildMessage message;
  if (n < sizeof(Header)) {
    message.end = true;
    return message;
  }
  Header header;
  std::memcpy(&header, buffer.data(), sizeof(header));
  if (header.kind == 'R') {
    message.ready = true;
  } else if (header.kind == 'T' && !received->fds.empty()) {
    message.terminal = std::move(received->fds[0]);
  } else {
    message.error.emplace(std::string(buffer.data() + sizeof(header), n - sizeof(header)), header.code);
  }
  return message;
}

}  // namespace nacre::guest
