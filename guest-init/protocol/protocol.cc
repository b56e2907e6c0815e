#include "guest-init/protocol/protocol.h"

#include <sys/socket.h>

#include <array>
#include <limits>
#include <vector>

#include "base/fd.h"

namespace nacre::protocol {

namespace {

constexpr size_t kHeaderSize = 4;
constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxErrorText = 4096;

uint32_t load_length(const char* bytes) {
  uint32_t length = 0;
  for (size_t i = kHeaderSize; i-- > 0;) length = length << 8 | static_cast<uint8_t>(bytes[i]);
  return length;
}

// Looked at before parsing, so that no frame can make the parser, or a later walk over the value, go deep.
bool is_too_deep(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') {
        i++;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      depth--;
    }
  }
  return false;
}

Result<Json> parse(std::string_view text) {
  if (is_too_deep(text)) return fail("message nested deeper than " + std::to_string(kMaxDepth), EBADMSG);
  Json message = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (message.is_discarded()) return fail("message is not JSON", EBADMSG);
  if (!message.is_object()) return fail("message is not an object", EBADMSG);
  auto type = message.find("type");
  if (type == message.end() || !type->is_string()) return fail("message without a \"type\"", EBADMSG);
  return message;
}

Result<void> check_length(uint32_t length) {
  if (length > kMaxFrame) return fail("message of " + std::to_string(length) + " bytes is too long", EBADMSG);
  return {};
}

Result<const Json*> field(const Json& message, std::string_view name) {
  if (!message.is_object()) return fail("not an object where \"" + std::string(name) + "\" is looked for", EINVAL);
  auto found = message.find(std::string(name));
  if (found == message.end()) return fail("missing field \"" + std::string(name) + "\"", EINVAL);
  return &*found;
}

std::unexpected<Error> wrong_type(std::string_view name, std::string_view wanted) {
  return fail("field \"" + std::string(name) + "\" is not " + std::string(wanted), EINVAL);
}

}  // namespace

Result<std::string> encode(const Json& message) {
  // Text that is not UTF-8 (a file name in an error, say) is made so: dump() never throws then.
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
  TRY(check_length(length));
  if (buffer_.size() - kHeaderSize < length) return Json();
  // On an error the frame stays in the buffer: asked again, we say the same.
  Json message = TRY(parse(std::string_view(buffer_).substr(kHeaderSize, length)));
  buffer_.erase(0, kHeaderSize + length);
  return message;
}

Result<std::string> string_field(const Json& message, std::string_view name) {
  const Json* value = TRY(field(message, name));
  if (!value->is_string()) return wrong_type(name, "a string");
  return value->get_ref<const std::string&>();
}

Result<int64_t> integer_field(const Json& message, std::string_view name, int64_t low, int64_t high) {
  const Json* value = TRY(field(message, name));
  if (!value->is_number_integer()) return wrong_type(name, "an integer");
  bool huge = value->is_number_unsigned() &&
              value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  int64_t number = huge ? 0 : value->get<int64_t>();
  if (huge || number < low || number > high) {
    return fail(
        "field \"" + std::string(name) + "\" is not between " + std::to_string(low) + " and " + std::to_string(high),
        EINVAL);
  }
  return number;
}

Result<bool> bool_field(const Json& message, std::string_view name) {
  const Json* value = TRY(field(message, name));
  if (!value->is_boolean()) return wrong_type(name, "true or false");
  return value->get<bool>();
}

Result<void> send(int fd, const Json& message) {
  std::string frame = TRY(encode(message));
  std::string_view rest = frame;
  while (!rest.empty()) {
    ssize_t n = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);  // a peer that is gone is an error, not SIGPIPE
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("send");
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<Json> receive(int fd) {
  std::array<char, kHeaderSize> header;
  TRY(read_all(fd, std::as_writable_bytes(std::span(header))));
  uint32_t length = load_length(header.data());
  TRY(check_length(length));
  // Grown as bytes arrive: the peer's word alone does not make us reserve 16 MiB.
  std::string body;
  while (body.size() < length) {
    size_t have = body.size();
    body.resize(std::min<size_t>(length, have + 65536));
    TRY(read_all(fd, std::as_writable_bytes(std::span(body).subspan(have))));
  }
  return parse(body);
}

Json error_message(std::string_view text, int code) {
  return Json{{"type", "error"}, {"message", std::string(text.substr(0, kMaxErrorText))}, {"code", code}};
}

}  // namespace nacre::protocol
