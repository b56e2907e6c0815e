// SPDX-License-Identifier: Apache-2.0
#include "guest-init/protocol/frame.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/fd.h"
#include "oci/json_limits.h"

namespace nacre::protocol {

namespace {

constexpr size_t kHeaderSize = 4;
constexpr size_t kMaxDepth = 64;

uint32_t load_length(const char* bytes) {
  uint32_t length = 0;
  for (size_t i = kHeaderSize; i-- > 0;) length = length << 8 | static_cast<uint8_t>(bytes[i]);
  return length;
}

Result<Json> parse(std::string_view text, const Limits& limits) {
  TRY_CONTEXT(oci::check_json_limits(text, {.depth = kMaxDepth, .values = limits.values}), "message");
  Json message = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (message.is_discarded()) return fail("message is not JSON", EBADMSG);
  if (!message.is_object()) return fail("message is not an object", EBADMSG);
  auto type = message.find("type");
  if (type == message.end() || !type->is_string()) return fail("message without a \"type\"", EBADMSG);
  return message;
}

Result<void> check_length(uint32_t length, const Limits& limits) {
  if (length > limits.bytes) return fail("message of " + std::to_string(length) + " bytes is too long", EBADMSG);
  return {};
}

}  // namespace

size_t encoded_size(std::string_view text) {
  size_t size = 2;  // the quotes
  for (char c : text) {
    auto byte = static_cast<uint8_t>(c);
    bool escaped = c == '"' || c == '\\';
    size += byte < 0x20 ? 6 : byte >= 0x80 ? 3 : escaped ? 2 : 1;
  }
  return size;
}

Result<std::string> to_frame(const Json& message) {
  // With this error handler dump() never throws.
  std::string body = message.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (body.size() > kMaxFrame)
    return fail("message of " + std::to_string(body.size()) + " bytes is too long", EMSGSIZE);
  std::string frame;
  frame.reserve(kHeaderSize + body.size());
  for (size_t i = 0; i < kHeaderSize; i++) frame += static_cast<char>(body.size() >> (8 * i));
  frame += body;
  return frame;
}

void Decoder::append(std::span<const std::byte> bytes) {
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<Json> Decoder::next() {
  if (buffer_.size() < kHeaderSize) return Json();
  uint32_t length = load_length(buffer_.data());
  TRY(check_length(length, limits_));
  if (buffer_.size() - kHeaderSize < length) return Json();
  // On an error the frame stays in the buffer: asked again, we say the same.
  Json message = TRY(parse(std::string_view(buffer_).substr(kHeaderSize, length), limits_));
  buffer_.erase(0, kHeaderSize + length);
  return message;
}

Result<void> send(int fd, const Json& message, int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const std::string frame = TRY(to_frame(message));
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::string_view rest = frame;
  while (!rest.empty()) {
    // A peer that is gone is an error, not SIGPIPE.
    ssize_t n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      rest.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail_errno("send");
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (timeout_ms >= 0 && left <= 0) return fail_errno("send", ETIMEDOUT);
    pollfd writable{fd, POLLOUT, 0};
    ::poll(&writable, 1, timeout_ms < 0 ? -1 : static_cast<int>(left));  // an error shows when this tries again
  }
  return {};
}

Result<Json> receive(int fd, Limits limits) {
  std::array<char, kHeaderSize> header;
  TRY(read_all(fd, std::as_writable_bytes(std::span(header))));
  uint32_t length = load_length(header.data());
  TRY(check_length(length, limits));
  // Grown as bytes arrive: the peer's word alone does not make us reserve 16 MiB.
  std::string body;
  while (body.size() < length) {
    size_t have = body.size();
    body.resize(std::min<size_t>(length, have + 65536));
    TRY(read_all(fd, std::as_writable_bytes(std::span(body).subspan(have))));
  }
  return parse(body, limits);
}

}  // namespace nacre::protocol
