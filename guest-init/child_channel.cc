#include "guest-init/child_channel.h"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <string>

namespace nacre::guest {

namespace {

constexpr size_t kMaxText = 4096;

struct Header {
  char kind;  // 'R' or 'E'
  int code;
};

void put(int control, Header header, std::string_view text) {
  std::string message(sizeof(header), '\0');
  std::memcpy(message.data(), &header, sizeof(header));
  message += text.substr(0, kMaxText);
  // If guest-init is gone there is nobody to tell.
  [[maybe_unused]] ssize_t n = ::send(control, message.data(), message.size(), MSG_NOSIGNAL);
}

}  // namespace

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
    n = ::recv(control, &go, 1, 0);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

bool send_go(int control) {
  return ::send(control, "g", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

std::optional<ChildMessage> receive_child_message(int control) {
  std::array<char, sizeof(Header) + kMaxText> buffer;
  ssize_t n;
  do {
    n = ::recv(control, buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return std::nullopt;
  ChildMessage message;
  if (n < static_cast<ssize_t>(sizeof(Header))) {
    message.end = true;
    return message;
  }
  Header header;
  std::memcpy(&header, buffer.data(), sizeof(header));
  if (header.kind == 'R') {
    message.ready = true;
  } else {
    message.error.emplace(std::string(buffer.data() + sizeof(header), static_cast<size_t>(n) - sizeof(header)),
                          header.code);
  }
  return message;
}

}  // namespace nacre::guest
