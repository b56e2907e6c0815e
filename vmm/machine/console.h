// SPDX-License-Identifier: Apache-2.0
// The serial console on vmm's own stdin and stdout.
#pragma once

#include <termios.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "devices/legacy/serial.h"

namespace nacre::vmm {

// Feeds stdin to the serial port. A terminal is in raw mode for as long as the console lives, so that ^C and line
// editing reach the guest; "^A x" ends the machine.
class Console {
 public:
  static Result<std::unique_ptr<Console>> create(EventLoop& loop, Serial& serial, std::function<void()> quit);
  ~Console();

 private:
  Console(EventLoop& loop, Serial& serial, std::function<void()> quit)
      : loop_(loop), serial_(serial), quit_(std::move(quit)) {}
  void watch();
  void on_input();
  // Hands as much of pending_ to the serial port as that takes.
  void deliver();
  // Appends what was typed to pending_, without the escape sequences.
  void filter(std::span<const std::byte> typed);

  EventLoop& loop_;
  Serial& serial_;
  std::function<void()> quit_;
  std::optional<termios> saved_;
  bool escaped_ = false;
  std::vector<std::byte> pending_;  // read, but not yet taken by the serial port
};

}  // namespace nacre::vmm
