// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/control.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace nacre::vmm {

namespace {

constexpr std::string_view kResize = "resize";
constexpr std::string_view kHold = "hold";
constexpr std::string_view kShare = "share";
constexpr std::string_view kUnshare = "unshare";
constexpr std::string_view kSize = "size";
constexpr std::string_view kError = "error ";

std::string_view take_word(std::string_view& text) {
  std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

template <typename T>
Result<T> parse_number(std::string_view name, std::string_view text) {
  T number{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code == std::errc() && end == text.data() + text.size() && !text.empty()) return number;
  return fail(std::string(name) + ": not a number", EINVAL);
}

struct Assignment {
  std::string_view name, value;
};

Assignment take_assignment(std::string_view& text) {
  std::string_view word = take_word(text);
  size_t equals = word.find('=');
  return {word.substr(0, equals), equals == std::string_view::npos ? "" : word.substr(equals + 1)};
}

std::string encode(const Resize& request) {
  std::string text(kResize);
  if (request.memory) text += " memory=" + std::to_string(*request.memory);
  if (request.cpus) text += " cpus=" + std::to_string(*request.cpus);
  return text;
}

std::string encode(const Hold&) {
  return std::string(kHold);
}

std::string encode(const Share& request) {
  return std::string(kShare) + " tag=" + request.tag + " name=" + request.name;
}

std::string encode(const Unshare& request) {
  return std::string(kUnshare) + " tag=" + request.tag + " name=" + request.name;
}

Result<Resize> parse_resize(std::string_view packet) {
  Resize request;
  while (!packet.empty()) {
    auto [name, value] = take_assignment(packet);
    if (name == "memory") {
      request.memory = TRY(parse_number<uint64_t>(name, value));
    } else if (name == "cpus") {
      request.cpus = TRY(parse_number<unsigned>(name, value));
    } else {
      return fail("unknown word in a request to resize", EINVAL);
    }
  }
  return request;
}

bool is_plain_name(std::string_view name) {
  auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_+-.:").find(c) != std::string_view::npos;
  };
  return !name.empty() && name != "." && name != ".." && std::ranges::all_of(name, is_plain);
}

// Share and Unshare.
template <typename Request>
Result<Request> parse_tree(std::string_view packet) {
  Request request;
  while (!packet.empty()) {
    auto [name, value] = take_assignment(packet);
    if (name == "tag") {
      request.tag = value;
    } else if (name == "name") {
      request.name = value;
    } else {
      return fail("unknown word in a request to share", EINVAL);
    }
  }
  if (!is_plain_name(request.name)) return fail("name: not a plain name", EINVAL);
  return request;
}

}  // namespace

std::string encode_request(const ControlRequest& request) {
  return std::visit([](const auto& kind) { return encode(kind); }, request);
}

Result<ControlRequest> parse_request(std::string_view packet) {
  std::string_view word = take_word(packet);
  if (word == kResize) return TRY(parse_resize(packet));
  if (word == kShare) return TRY(parse_tree<Share>(packet));
  if (word == kUnshare) return TRY(parse_tree<Unshare>(packet));
  if (word == kHold && packet.empty()) return Hold{};
  return fail("unknown request", EINVAL);
}

std::string encode_answer(const Result<MachineSize>& answer) {
  if (!answer) return (std::string(kError) + answer.error().message()).substr(0, kMaxControlPacket);
  return std::string(kSize) + " memory=" + std::to_string(answer->memory) +
         " present=" + std::to_string(answer->present) + " max_memory=" + std::to_string(answer->max_memory) +
         " cpus=" + std::to_string(answer->cpus) + " max_cpus=" + std::to_string(answer->max_cpus);
}

Result<MachineSize> parse_answer(std::string_view packet) {
  if (packet.starts_with(kError)) return fail(std::string(packet.substr(kError.size())), EINVAL);
  if (take_word(packet) != kSize) return fail("vmm's answer is not understood", EPROTO);
  MachineSize size;
  while (!packet.empty()) {
    auto [name, text] = take_assignment(packet);
    uint64_t value = TRY(parse_number<uint64_t>(name, text));
    if (name == "memory") size.memory = value;
    if (name == "present") size.present = value;
    if (name == "max_memory") size.max_memory = value;
    if (name == "cpus") size.cpus = static_cast<unsigned>(value);
    if (name == "max_cpus") size.max_cpus = static_cast<unsigned>(value);
  }
  return size;
}

}  // namespace nacre::vmm
