// SPDX-License-Identifier: Apache-2.0
#include "base/netlink/socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <utility>

namespace nacre::netlink {

namespace {

// The kernel's messages of a list come in parts of at most 32 KiB (netlink_dump() of af_netlink.c).
constexpr size_t kBuffer = 64 << 10;
constexpr size_t kMaxMessages = 1 << 16;
constexpr int kMaxDumps = 10;

// Returns the error that the kernel answers, if it is one. NETLINK_EXT_ACK adds an explanation.
Result<void> result_of(const MessageView& message) {
  auto answer = message.header<nlmsgerr>();
  if (!answer) return fail("netlink: an answer is too short", EPROTO);
  if (answer->error == 0) return {};
  const int code = -answer->error;
  std::string text = describe_errno(code);
  if (message.flags() & NLM_F_ACK_TLVS) {
    // With NETLINK_CAP_ACK the request's header alone is repeated before the attributes.
    if (auto why = find(message.attributes<nlmsgerr>(), NLMSGERR_ATTR_MSG))
      text = std::string(why->text()) + ": " + text;
  }
  return fail(std::move(text), code);
}

}  // namespace

Result<Socket> Socket::open() {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail_errno("netlink socket");
  const int on = 1;
  for (int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    if (::setsockopt(fd.get(), SOL_NETLINK, option, &on, sizeof(on)) < 0) return fail_errno("netlink socket option");
  }
  return Socket(std::move(fd));
}

Result<uint32_t> Socket::send(std::span<const std::byte> request, uint16_t flags) {
  Bytes message(request.begin(), request.end());
  nlmsghdr head;
  if (message.size() < sizeof(head)) return fail("netlink: a request is too short", EINVAL);
  std::memcpy(&head, message.data(), sizeof(head));
  head.nlmsg_flags |= flags;
  head.nlmsg_seq = ++sequence_;
  head.nlmsg_pid = 0;
  std::memcpy(message.data(), &head, sizeof(head));
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)) <
      0) {
    return fail_errno("netlink request");
  }
  return sequence_;
}

Result<Socket::End> Socket::receive(uint32_t sequence, std::vector<Bytes>* messages) {
  Bytes buffer(kBuffer);
  bool interrupted = false;
  for (;;) {
    ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("netlink answer");
    auto rest = std::span<const std::byte>(buffer).first(static_cast<size_t>(n));
    while (auto message = MessageView::first_of(rest)) {
      rest = rest.subspan(std::min(message->stride(), rest.size()));
      if (message->sequence() != sequence) continue;  // of a request that was given up
      interrupted |= (message->flags() & NLM_F_DUMP_INTR) != 0;
      if (message->type() == NLMSG_ERROR) {
        TRY(result_of(*message));
        return End::done;
      }
      if (message->type() == NLMSG_DONE) {
        if (auto status = message->header<int32_t>(); status && *status < 0)
          return fail_errno("netlink list", -*status);
        return interrupted ? End::interrupted : End::done;
      }
      if (messages == nullptr) continue;
      if (messages->size() == kMaxMessages) return fail("netlink: the list is too long", E2BIG);
      messages->emplace_back(message->bytes().begin(), message->bytes().end());
    }
  }
}

Result<void> Socket::ask(std::span<const std::byte> request) {
  uint32_t sequence = TRY(send(request, NLM_F_REQUEST | NLM_F_ACK));
  auto received = receive(sequence, nullptr);
  return received ? Result<void>() : std::unexpected(received.error());
}

Result<std::vector<Bytes>> Socket::dump(const MessageBuilder& request) {
  for (int i = 0; i < kMaxDumps; i++) {
    std::vector<Bytes> messages;
    uint32_t sequence = TRY(send(request.bytes(), NLM_F_REQUEST | NLM_F_DUMP));
    if (TRY(receive(sequence, &messages)) == End::done) return messages;
  }
  return fail("netlink: the list keeps changing", EAGAIN);
}

}  // namespace nacre::netlink
