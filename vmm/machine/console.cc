// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/console.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>

#include "base/log.h"

namespace nacre::vmm {

namespace {

constexpr std::byte kEscape{0x01};  // ^A
constexpr size_t kChunk = 256;

}  // namespace

Result<std::unique_ptr<Console>> Console::create(EventLoop& loop, Serial& serial, std::function<void()> quit) {
  std::unique_ptr<Console> console(new Console(loop, serial, std::move(quit)));
  termios settings;
  if (::tcgetattr(STDIN_FILENO, &settings) == 0) {
    console->saved_ = settings;
    ::cfmakeraw(&settings);
    settings.c_oflag |= OPOST;  // vmm's own lines still start at the left
    ::tcsetattr(STDIN_FILENO, TCSANOW, &settings);
  }
  serial.set_on_input_space([&loop, self = console.get()] {
    loop.post([self] {
      self->deliver();
      if (self->pending_.empty()) self->watch();
    });
  });
  console->watch();
  return console;
}

Console::~Console() {
  loop_.remove(STDIN_FILENO);
  if (saved_) ::tcsetattr(STDIN_FILENO, TCSANOW, &*saved_);
}

void Console::watch() {
  Result<void> watched = loop_.add(STDIN_FILENO, EPOLLIN, [this](uint32_t) { on_input(); });
  // A file or /dev/null cannot be watched, and stdin may be closed. Then there is no input.
  if (!watched && watched.error().code() != EPERM && watched.error().code() != EBADF) {
    log_warn("console: " + watched.error().message());
  }
}

void Console::on_input() {
  std::array<std::byte, kChunk> buffer;
  ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    loop_.remove(STDIN_FILENO);
    return;
  }
  filter(std::span(buffer).first(static_cast<size_t>(n)));
  deliver();
}

void Console::deliver() {
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(serial_.receive(pending_)));
  if (!pending_.empty()) loop_.remove(STDIN_FILENO);  // until the guest has read and the serial port has space
}

void Console::filter(std::span<const std::byte> typed) {
  for (std::byte key : typed) {
    if (saved_ && escaped_ && key == std::byte{'x'}) {
      quit_();
      return;
    }
    if (saved_ && !escaped_ && key == kEscape) {
      escaped_ = true;
      continue;
    }
    escaped_ = false;
    pending_.push_back(key);
  }
}

}  // namespace nacre::vmm
