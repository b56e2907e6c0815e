// SPDX-License-Identifier: Apache-2.0
// A socket of rtnetlink(7), for the network namespace in which it is made, wherever its owner goes later.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/netlink/message.h"
#include "base/result.h"

namespace nacre::netlink {

class Socket {
 public:
  static Result<Socket> open();

  // Sends a request and waits for the kernel's answer. An error has the kernel's explanation, if there is one, and the
  // errno value.
  Result<void> ask(std::span<const std::byte> request);
  Result<void> ask(const MessageBuilder& request) { return ask(request.bytes()); }
  // Asks for a list (NLM_F_DUMP), and returns its messages. If the list changes meanwhile, asks again.
  Result<std::vector<Bytes>> dump(const MessageBuilder& request);

  int fd() const { return fd_.get(); }

 private:
  explicit Socket(Fd fd) : fd_(std::move(fd)) {}
  enum class End { done, interrupted };
  // Returns the sequence number.
  Result<uint32_t> send(std::span<const std::byte> request, uint16_t flags);
  // Takes in what answers the request: the messages of a list, or nothing but the acknowledgement.
  Result<End> receive(uint32_t sequence, std::vector<Bytes>* messages);

  Fd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace nacre::netlink
